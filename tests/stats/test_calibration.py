"""Error rates on simulated matrices: the worlds of benchmarks/calibration.py, but fewer."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "calibration.py"


@pytest.fixture(scope="module")
def calibration():
    spec = importlib.util.spec_from_file_location("calibration", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up by name.
    sys.modules["calibration"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["calibration"]


def measured(module, world, methods, *, n_matrices=300, n_targets=1, seed=0):
    rng = np.random.default_rng(seed)
    found = module.rates(world, methods, n_matrices=n_matrices, rng=rng, n_targets=n_targets)
    return {row.method: row for row in found}


def test_the_two_way_test_keeps_its_level_where_pooling_errs_six_times_as_often(calibration):
    got = measured(calibration, calibration.World(), calibration.WITH_SEEDS, n_matrices=400)
    # The standard error over 400 matrices is about 0.4 points; the claim is 1.5 points.
    assert got["two-way"].type_1 == pytest.approx(0.05, abs=0.015)
    assert got["two-way"].coverage == pytest.approx(0.95, abs=0.015)
    assert got["seeds × examples pooled"].type_1 > 0.25


def test_pooling_training_variance_gives_power_that_a_t_test_on_seeds_lacks(calibration):
    world = calibration.World(effect=0.05, effect_share=0.3)
    got = measured(calibration, world, calibration.WITH_SEEDS, n_matrices=100, n_targets=3)
    assert got["two-way"].power > got["t test on seeds"].power + 0.2
    # Mean false-discovery proportions over 100 matrices have an error of about 1 point.
    assert got["two-way"].fdp < 0.05 + 0.03
    assert got["seeds × examples pooled"].fdp > 0.2


@pytest.mark.parametrize("n_examples", [200, 1000])
def test_one_run_tests_keep_their_level(calibration, n_examples):
    world = calibration.World(n_seeds=1, seed_sd=0.0, n_examples=n_examples)
    methods = ("McNemar mid-p", "McNemar exact", "sign flip", "bootstrap BCa")
    got = measured(calibration, world, methods)
    for row in got.values():
        # Ten sources share a base: the error over 300 matrices is about 0.7 points, so
        # two of them are added to the claim; exact tests may err less often.
        assert row.type_1 <= 0.065 + 0.014, row
        assert row.coverage >= 0.935 - 0.014, row
    assert got["McNemar mid-p"].type_1 >= 0.035 - 0.014


def test_one_run_cannot_speak_about_training_variance(calibration):
    got = measured(calibration, calibration.World(n_seeds=1), ("McNemar mid-p",))
    assert got["McNemar mid-p"].type_1 > 0.15


def test_max_t_keeps_the_familywise_level_and_has_at_least_holms_power(calibration):
    world = calibration.World(n_seeds=1, seed_sd=0.0, effect=0.05, effect_share=0.3)
    got = calibration.max_t_rates(world, n_matrices=100, rng=np.random.default_rng(1))
    # Binomial(100, .05): SD 2.2 points.
    assert got["max-T, any false"] <= 0.05 + 0.066
    assert got["max-T, power"] >= got["Holm, power"] - 0.01


def test_the_report_names_the_machine_and_every_method(calibration):
    rows = measured(calibration, calibration.World(n_examples=50), ("two-way",), n_matrices=2)
    text = calibration.markdown(
        {
            "n_matrices": 2,
            "seconds": 1.0,
            "hardware": calibration.hardware(),
            "worlds": {"a world": [vars(row) for row in rows.values()]},
            "familywise": {"families": {"max-T, power": 0.5}},
        }
    )
    assert "| two-way | " in text
    assert "| max-T, power | 50.0 |" in text
    assert str(calibration.hardware()["cores"]) in text
