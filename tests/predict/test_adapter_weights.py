"""Likeness of weight changes from their factors: against the changes themselves."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from small_study import finished_folder
from transferlens.predict import LORA_COSINE, adapter_cosines, lora_cosines
from transferlens.predict.adapter_weights import lora_feature
from transferlens.results import open_study

numpy_files = pytest.importorskip("safetensors.numpy")
LAYERS = {"model.layers.0.q_proj": (6, 5), "model.layers.0.up_proj": (9, 5)}


def factors(rng, rank=3, layers=LAYERS):
    return {
        layer: (rng.normal(size=(out, rank)), rng.normal(size=(rank, width)))
        for layer, (out, width) in layers.items()
    }


def write(folder, parts, *, alpha=8.0, **more):
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for layer, (up, down) in parts.items():
        tensors[f"base_model.model.{layer}.lora_A.weight"] = down.astype(np.float32)
        tensors[f"base_model.model.{layer}.lora_B.weight"] = up.astype(np.float32)
    numpy_files.save_file(
        {name: np.ascontiguousarray(t) for name, t in tensors.items()},
        folder / "adapter_model.safetensors",
    )
    rank = next(iter(parts.values()))[1].shape[0]
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": alpha, **more}
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def change(parts, scale=1.0):
    return np.concatenate([(scale * up @ down).ravel() for up, down in parts.values()])


def cosine(a, b):
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def test_cosines_are_those_of_the_weight_changes_whatever_the_ranks(tmp_path):
    rng = np.random.default_rng(0)
    parts = [factors(rng, rank) for rank in (3, 1, 4)]
    folders = [write(tmp_path / str(i), p) for i, p in enumerate(parts)]
    expected = [[cosine(change(a), change(b)) for b in parts] for a in parts]
    np.testing.assert_allclose(lora_cosines(folders), expected, atol=1e-6)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_another_factorisation_of_the_same_change_is_the_same_adapter(tmp_path_factory, seed):
    rng = np.random.default_rng(seed)
    one, other = factors(rng), factors(rng)
    mixed = {}
    for layer, (up, down) in one.items():
        turn = np.linalg.qr(rng.normal(size=(3, 3)))[0] * rng.uniform(0.5, 2, size=3)
        mixed[layer] = up @ turn, np.linalg.solve(turn, down)
    place = tmp_path_factory.mktemp("mixed")
    folders = [write(place / str(i), p) for i, p in enumerate((one, mixed, other))]
    found = lora_cosines(folders)
    assert found[0, 1] == pytest.approx(1.0, abs=1e-5)
    assert found[0, 2] == pytest.approx(found[1, 2], abs=1e-5)


def test_scales_per_layer_count_and_a_layer_that_one_lacks_changes_nothing(tmp_path):
    rng = np.random.default_rng(1)
    one, other = factors(rng), factors(rng, layers=dict([next(iter(LAYERS.items()))]))
    folders = [
        write(tmp_path / "0", one, alpha_pattern={"q_proj": 80.0}),
        write(tmp_path / "1", other, use_rslora=True),
    ]
    (up, down), (wide, low) = one.values()
    full = np.concatenate([10 * (up @ down).ravel(), (wide @ low).ravel()])
    part = np.concatenate([change(other), np.zeros(9 * 5)])
    assert lora_cosines(folders)[0, 1] == pytest.approx(cosine(full, part), abs=1e-6)


def test_an_adapter_that_changes_nothing_is_like_nothing(tmp_path):
    rng = np.random.default_rng(2)
    nothing = {layer: (0 * up, down) for layer, (up, down) in factors(rng).items()}
    folders = [write(tmp_path / "0", factors(rng)), write(tmp_path / "1", nothing)]
    np.testing.assert_array_equal(np.isnan(lora_cosines(folders)), [[False, True], [True, True]])


@pytest.fixture
def study(tmp_path):
    """Three sources, two seeds; the adapter of the last is no LoRA."""
    store = finished_folder(tmp_path / "study", (0, 1))
    rng = np.random.default_rng(3)
    parts = {}
    for adapter in store.plan.adapters:
        parts[adapter.source, adapter.seed] = factors(rng)
        kind = {"peft_type": "IA3"} if adapter.source == "topic" else {}
        write(store.adapter_dir(adapter), parts[adapter.source, adapter.seed], **kind)
    return open_study(tmp_path / "study"), parts


def test_sources_are_compared_seed_by_seed_and_other_methods_are_left_out(study):
    opened, parts = study
    found = adapter_cosines(opened)
    pairs = [(parts["maths", seed], parts["mood", seed]) for seed in (0, 1)]
    expected = np.mean([cosine(change(a), change(b)) for a, b in pairs])
    assert found[0, 1] == pytest.approx(expected, abs=1e-6)
    assert np.isnan(found[2]).all()


def test_the_feature_of_a_pair_is_the_likeness_to_the_adapter_of_the_targets_own_task(study):
    opened, _ = study
    np.testing.assert_array_equal(lora_feature(opened), adapter_cosines(opened))


def test_it_predicts_cells_of_trained_adapters_and_never_those_of_a_new_dataset(rng):
    from planted_problem import problem
    from transferlens.predict import Complete, predictors_for

    features = rng.normal(size=(14, 12, 2))
    gains = 5 * features[:, :, 1] + 0.1 * rng.normal(size=(14, 12))
    gains[0], gains[3, 4] = np.nan, np.nan
    features[0, :, 1] = np.nan
    given = problem(gains, features=features, feature_names=("size", LORA_COSINE))
    assert [p.name for p in predictors_for(given)][-2:] == ["features", "adapter weights"]
    found = {c.protocol: c for c in Complete()(given, rng=rng).choices}
    assert found["cells"].predictor == "adapter weights"
    assert "adapter weights" not in found["source"].others
