"""The study of docs/twins.md is a real experiment: class shares and lengths carry over."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

import transferlens as tl
from transferlens.explain import TwinEffect

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("twins") / "twins"
    study = str(ROOT / "examples" / "twins.yaml")
    command = [sys.executable, "-m", "transferlens", "run", study, "-o", str(folder)]
    subprocess.run([*command, "--log", "json"], check=True, capture_output=True)
    return tl.open_study(folder)


@pytest.fixture(scope="module")
def found(finished):
    return TwinEffect()(finished)


def effect(found, twin, target, measure):
    (row,) = found.frame.filter(twin=twin, target=target, measure=measure).iter_rows(named=True)
    return row


def test_the_class_shares_of_a_source_carry_over_to_what_its_adapter_answers(found):
    row = effect(found, "pairs-balanced", "paraphrase", "share")
    assert row["label"] == "yes"
    # Five of six training rows say yes, in the balanced twin half of them.
    assert row["original"] > 0.8
    assert row["high"] < 0
    assert row["p_adjusted"] < 0.05


@pytest.mark.parametrize("target", ["rewriting", "reading"])
def test_the_length_of_outputs_carries_over_also_to_a_task_that_was_never_trained(found, target):
    row = effect(found, "rewriting-truncated_outputs", target, "length")
    assert row["high"] < 0
    assert row["p_adjusted"] < 0.05


def test_wrong_labels_cost_the_task_far_more_than_another_seed_does(found):
    row = effect(found, "sentiment-mislabelled", "sentiment", "score")
    assert row["difference"] < -0.1
    assert abs(row["difference"]) > 2 * row["floor"]


def test_what_another_seed_changes_is_known_and_no_finding(found):
    reseeded = found.frame.filter(control="reseeded")
    assert reseeded["twin"].n_unique() == 3
    assert not set(found.found()["twin"]) & set(reseeded["twin"])
    notes = [note for note in found.notes if note.startswith("noise floor of")]
    assert len(notes) == 3


def test_what_is_not_found_is_said(finished, found):
    silent = found.frame.filter(
        pl.col("p_adjusted") > 0.05, twin="rewriting-truncated_outputs", measure="share"
    )
    # Shorter outputs are no reason to prefer another label.
    assert silent.height == 2
    command = [sys.executable, "-m", "transferlens", "twins", str(finished.path)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    tested = found.frame.filter(pl.col("p_adjusted").is_not_nan())
    assert f"{found.found().height} of {tested.height} differences are significant" in text
