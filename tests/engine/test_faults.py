"""Whatever goes wrong around a run is one clear sentence, and the same call goes on afterwards."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

import transferlens as tl
from engine.small_run import assert_same, make_place, spec_of, start
from transferlens.engine import choices
from transferlens.engine.scarce import is_out_of_memory, with_smaller_batches
from transferlens.errors import ResultsError
from transferlens.results import StudyStore, check_study, repair_study, study_status

HARNESS = Path(__file__).parents[2] / "benchmarks" / "faults.py"
TOO_MUCH = 10**15
"""Bytes that no machine gives."""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return make_place(tmp_path_factory.mktemp("place"))


@pytest.fixture(scope="module")
def undisturbed(place):
    tl.run(spec_of(place), place / "undisturbed", log="quiet")
    return place / "undisturbed"


@pytest.mark.slow
def test_studies_killed_at_random_by_one_two_and_three_processes_end_as_if_undisturbed(tmp_path):
    command = [
        sys.executable,
        str(HARNESS),
        "--kills",
        "50",
        "--seed",
        "11",
        "--out",
        str(tmp_path),
    ]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert result.returncode == 0, result.stderr
    found = json.loads((tmp_path / "faults.json").read_text())
    assert found["kills"] >= 50
    assert set(found["by_processes"]) == {"1", "2", "3"}
    for row in found["by_processes"].values():
        assert row["studies"] >= 1
        assert {row[name] for name in ("damaged", "lost", "errors", "different")} == {0}


@contextmanager
def files_up_to(n_bytes):
    """Let the system refuse to write longer files, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_where_weights_cannot_be_written_the_run_ends_at_once_and_goes_on_when_there_is_room(
    place, undisturbed, tmp_path
):
    folder = tmp_path / "full"
    weights = min(f.stat().st_size for f in undisturbed.rglob("adapter_model.safetensors"))
    with files_up_to(weights - 1), pytest.raises(ResultsError) as caught:
        tl.run(spec_of(place), folder, log="quiet")
    told = r"cannot write \S+: File too large; mend this and run again: what is finished is kept"
    assert re.fullmatch(told, str(caught.value))
    store = StudyStore.open(folder)
    # The base needs no weights of its own; not every adapter is trained to be lost.
    assert study_status(folder).cells == {"done": 2, "left": 8}
    assert check_study(folder).findings == ()
    assert store.failures() == []
    tl.run(spec_of(place), folder, log="quiet")
    assert_same(undisturbed, folder)


@pytest.fixture(scope="module")
def poisoned(place, tmp_path_factory):
    """A place whose base has one token of no finite value: a training row of one task has it."""
    folder = tmp_path_factory.mktemp("poisoned")
    shutil.copytree(place, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("undisturbed"))
    file = folder / "model" / "model.safetensors"
    weights = load_file(file)
    (token,) = AutoTokenizer.from_pretrained(folder / "model").encode("Z", add_special_tokens=False)
    weights["model.embed_tokens.weight"][token] = np.nan
    save_file(weights, file, metadata={"format": "pt"})
    rows = folder / "colours-train.jsonl"
    text = rows.read_text(encoding="utf-8")
    rows.write_text(text.replace("train 7", "train Z"), encoding="utf-8")
    return folder


def test_an_adapter_whose_loss_is_no_number_is_marked_with_its_step_and_the_others_go_on(
    poisoned, tmp_path
):
    overrides = ("seeds=[0]", "method.batch_tokens=64")
    with pytest.warns(UserWarning, match="2 of 6 cells are missing"):
        study = tl.run(spec_of(poisoned, *overrides), tmp_path / "study", log="quiet")
    (failure,) = study_status(tmp_path / "study").failures
    assert failure.what == "adapter colours, seed 0"
    assert re.match(r"training diverged at step \d+ of \d+: loss nan", failure.message)
    assert np.isnan(study.scores["score"].sel(source="colours")).all()
    assert not np.isnan(study.scores["score"].sel(source="numbers")).any()


def allocate(batch_tokens, enough):
    if batch_tokens > enough:
        torch.empty(TOO_MUCH, dtype=torch.uint8)


def test_where_memory_is_short_batches_are_halved_until_they_fit_or_the_error_is_clear():
    tried = []

    def compute(batch_tokens):
        tried.append(batch_tokens)
        allocate(batch_tokens, 200)
        return batch_tokens

    heard = []
    assert with_smaller_batches(compute, 1000, smaller=heard.append) == 125
    assert tried == [1000, *heard] == [1000, 500, 250, 125]
    with pytest.raises(RuntimeError, match="can't allocate memory") as caught:
        with_smaller_batches(lambda size: allocate(size, 0), 1000, smaller=heard.append)
    assert is_out_of_memory(caught.value)
    assert is_out_of_memory(MemoryError())
    tried.clear()

    def mistaken(batch_tokens):
        tried.append(batch_tokens)
        return torch.ones(2) + torch.ones(3)

    with pytest.raises(RuntimeError, match="size of tensor"):
        with_smaller_batches(mistaken, 1000, smaller=heard.append)
    assert tried == [1000]


def test_a_cell_for_which_memory_is_short_is_answered_in_smaller_batches(
    place, undisturbed, tmp_path, monkeypatch, capsys
):
    known = choices.fill_up

    def hungry(sizes, *, max_tokens):
        allocate(max_tokens, 300)
        return known(sizes, max_tokens=max_tokens)

    monkeypatch.setattr(choices, "fill_up", hungry)
    limits = ("sources=[colours]", "targets=[colours]", "seeds=[0]", "evaluation.batch_tokens=1024")
    study = tl.run(spec_of(place, *limits), tmp_path / "study", log="json")
    events = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    sizes = [event["batch_tokens"] for event in events if event["event"] == "smaller"]
    assert sizes == [512, 256] * 2
    wanted = tl.open_study(undisturbed).scores.sel(source=["colours"], target=["colours"], seed=[0])
    np.testing.assert_allclose(study.scores["score"], wanted["score"], rtol=1e-12)


def test_a_damaged_cell_adapter_and_text_are_mended_by_check_and_one_more_run(
    place, undisturbed, tmp_path
):
    folder = tmp_path / "damaged"
    shutil.copytree(undisturbed, folder)
    cell = sorted((folder / "cells").iterdir())[3]
    weights = sorted(folder.rglob("adapter_model.safetensors"))[2]
    text = next((folder / "examples").glob("colours-*"))
    for file in (cell, weights, text):
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    assert len(check_study(folder).wrong) == 3
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("*") if file.is_file()}
    repair_study(folder)
    tl.run(spec_of(place), folder, log="quiet")
    after = {file: file.stat().st_mtime_ns for file in folder.rglob("*") if file.is_file()}
    anew = {file for file in before if after[file] != before[file]} - {folder / "plan.json"}
    assert anew == {cell, text, *weights.parent.iterdir()}
    assert check_study(folder).findings == ()
    assert_same(undisturbed, folder)


CLOCK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
int clock_gettime(clockid_t id, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int status = real(id, now);
    /* Every look at the clock of the day is up to ten years off, forward or back. */
    if (id == CLOCK_REALTIME) now->tv_sec += (rand() % 630720000) - 315360000;
    return status;
}
"""


@pytest.mark.slow
def test_a_clock_that_jumps_by_years_changes_no_result(place, undisturbed, tmp_path):
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler, with which to bend the clock")
    (tmp_path / "clock.c").write_text(CLOCK, encoding="utf-8")
    library = tmp_path / "clock.so"
    build = [compiler, "-shared", "-fPIC", "-o", str(library), str(tmp_path / "clock.c"), "-ldl"]
    subprocess.run(build, check=True)
    folder = tmp_path / "study"
    process = start(place, folder, env={**os.environ, "LD_PRELOAD": str(library)})
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    times = [json.loads(line)["time"] for line in errors.splitlines()]
    assert times != sorted(times)
    for number, file in enumerate(sorted((folder / "cells").iterdir())):
        os.utime(file, (number, 4e9 * (number % 2)))
    assert study_status(folder).cells == {"done": 10}
    assert check_study(folder).findings == ()
    assert_same(undisturbed, folder)
