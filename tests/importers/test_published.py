"""Published matrices come in with the right orientation and unit, and give their known figures."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from transferlens.importers import import_matrix, remarks_of

FUSION = [
    "clip_vit_b16_8tasks", "clip_vit_b16_llora16", "clip_vit_b16_lora16", "clip_vit_b32_8tasks",
    "clip_vit_l14_8tasks", "flan_t5_base_glue_fullft", "flan_t5_base_glue_lora16",
    "flan_t5_large_glue_lora16", "gpt2_glue_fullft",
]  # fmt: skip
PROMPTS = {"Roberta": (14, 14), "RobertaLarge": (13, 13), "T5": (17, 17), "T5Small": (17, 17)}
MODELS = {
    "base_llm_benchmark_eval": (148, 8),
    "base_llm_benchmark_eval_first_commit": (107, 8),
    "base_llm_benchmark_eval_sub_10b": (92, 8),
    "base_llm_leaderboard_v2_eval": (72, 6),
    "base_llm_post_training_eval": (94, 234),
    "instruct_llm_benchmark_eval": (27, 9),
}


def raw(file):
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def score(study, source, target):
    return float(study.scores["score"].sel(source=source, target=target, seed=0))


@pytest.mark.parametrize("name", FUSION)
def test_fine_tunes_are_rows_in_percent_without_their_averages(shared, name):
    file = shared / "matrices" / "fusion_bench" / f"{name}.csv"
    study = import_matrix(file)
    rows = [row for row in raw(file) if not row["Model"].startswith("Pre")]
    targets = [key for key in rows[0] if key not in {"Model", "Average", "Avg."}]
    assert study.scores["source"].values.tolist() == [row["Model"] for row in rows]
    assert study.scores["target"].values.tolist() == targets
    expected = np.array([[float(row[key]) for key in targets] for row in rows]) / 100
    np.testing.assert_array_equal(study.scores["score"].values[:, :, 0], expected)
    said = remarks_of(study)
    assert any("they match their cells" in line for line in said)
    assert not [line for line in said if line.startswith("warning")]


def test_averages_and_gains_of_flan_t5_are_those_that_were_published(shared):
    folder = shared / "matrices" / "fusion_bench"
    full = import_matrix(folder / "flan_t5_base_glue_fullft.csv").scores
    assert 100 * float(full["base_score"].mean()) == pytest.approx(75.735160, abs=5e-7)
    means = 100 * full["score"].mean("target").values[:, 0]
    assert means[0] == pytest.approx(73.103128, abs=5e-7)
    assert means[1] == means.max() == pytest.approx(78.957422, abs=5e-7)
    lora = import_matrix(folder / "flan_t5_base_glue_lora16.csv").scores.squeeze("seed")
    gain = 100 * (lora["score"] - lora["base_score"])
    off = gain.values[~np.eye(8, dtype=bool)]
    assert off.mean() == pytest.approx(-2.02, abs=0.005)
    assert (off > 1e-9).mean() == pytest.approx(0.357, abs=0.0005)
    assert float(gain.sel(source="GLUE-STSB", target="GLUE-MNLI")) == pytest.approx(-54.8)
    assert float(gain.sel(source="GLUE-QQP", target="GLUE-STSB")) == pytest.approx(13.1)


def test_a_base_is_found_under_its_usual_names(shared):
    folder = shared / "matrices" / "fusion_bench"
    for name, first in (("clip_vit_b32_8tasks", 0.632), ("flan_t5_large_glue_lora16", 0.737)):
        study = import_matrix(folder / f"{name}.csv")
        assert study.scores["base_score"].values[0, 0] == pytest.approx(first)
    # This one has none.
    assert np.isnan(import_matrix(folder / "gpt2_glue_fullft.csv").scores["base_score"]).all()


def test_headings_are_no_sources_and_a_wrong_average_is_told(shared):
    folder = shared / "matrices" / "fusion_bench"
    study = import_matrix(folder / "merge_flan_t5_base_lora16.csv")
    assert [info.name for info in study.sources] == [
        "Fine-tuned_STL", "Simple_Average", "Task_Arithmetic_lambda_0.3",
        "Ties-Merging_lambda_0.3",
    ]  # fmt: skip
    wrong = [line for line in remarks_of(study) if line.startswith("warning")]
    assert len(wrong) == 1
    assert "row 6" in wrong[0]
    assert "78.2, but the 8 cells give 79.4875" in wrong[0]


@pytest.mark.parametrize(("name", "shape"), PROMPTS.items())
def test_prompt_transfer_has_targets_as_rows_in_fractions(shared, name, shape):
    file = shared / "matrices" / "prompt_transferability" / f"target_x_source_{name}.csv"
    rows = {row["target"]: row for row in raw(file)}
    base = "random" if "random" in rows["IMDB"] else None
    study = import_matrix(file, base=base)
    assert study.scores["score"].shape[:2] == shape
    for source in study.scores["source"].values:
        for target, row in rows.items():
            assert score(study, source, target) == float(row[source])
    if base:
        assert study.scores["base_score"].values[:, 0].tolist() == [
            float(row["random"]) for row in rows.values()
        ]


def test_prompt_transfer_is_not_symmetric_and_keeps_its_direction(shared):
    folder = shared / "matrices" / "prompt_transferability"
    study = import_matrix(folder / "target_x_source_Roberta.csv")
    assert score(study, "MNLI", "MRPC") == 0.6589
    assert score(study, "MRPC", "MNLI") == 0.3271
    assert any("base=random" in line for line in remarks_of(study))


@pytest.mark.parametrize(("name", "shape"), MODELS.items())
def test_models_by_benchmarks_keep_their_fractions_gaps_and_families(shared, name, shape):
    file = shared / "matrices" / "obs_scaling" / f"{name}.csv"
    rows = raw(file)
    study = import_matrix(file)
    assert study.scores["score"].shape[:2] == shape
    assert set(study.scores["unit"].values) == {"fraction"}
    number = {info.name: i for i, info in enumerate(study.sources)}
    assert len(number) == shape[0]
    described = {"Model", "Model Family", "Model Size (B)"}
    described |= {"Pretraining Data Size (T)", "FLOPs (1E21)"}
    filled = sum(bool(v) for row in rows for k, v in row.items() if k not in described)
    assert int(np.isfinite(study.scores["score"]).sum()) == filled
    if "Model Family" in rows[0]:
        assert study.sources[0].family == rows[0]["Model Family"]


def test_percent_among_fractions_is_told_and_each_target_keeps_its_own_range(shared):
    file = shared / "matrices" / "obs_scaling" / "base_llm_emergent_capability_eval.csv"
    study = import_matrix(file)
    assert float(study.scores["score"].max()) == 1.0
    bleu = study.scores["score"].sel(target="ipa_transliterate_2_bleu").values[0, 0]
    assert bleu == pytest.approx(0.2723879164)
    assert any("percent mixed with fractions" in line for line in remarks_of(study))
