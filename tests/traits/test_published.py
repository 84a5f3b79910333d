"""Published matrices give the published figures, and their trap is seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import xarray as xr

from transferlens.results import BASE, TransferStudy
from transferlens.traits import (
    complete_by_one_component,
    congruence,
    decompose_traits,
    find_dominance,
    pca,
    prepare,
    study_matrix,
)

SCALING = (
    "MMLU",
    "ARC-C",
    "HellaSwag",
    "Winograd",
    "TruthfulQA",
    "GSM8K",
    "XWinograd",
    "HumanEval",
)


def flan_t5(shared: Path) -> xr.DataArray:
    """Scores of the LoRA adapters of Flan-T5 base in percent, the base first."""
    table = pl.read_csv(shared / "matrices" / "fusion_bench" / "flan_t5_base_glue_lora16.csv")
    tasks = [name for name in table.columns if name not in {"Model", "Average"}]
    return xr.DataArray(
        table.select(tasks).to_numpy(),
        dims=("source", "target"),
        coords={"source": [BASE, *table["Model"][1:]], "target": tasks},
    )


def test_one_cell_makes_the_first_component_of_flan_t5_and_is_named(shared: Path) -> None:
    scores = flan_t5(shared)
    gains = prepare(scores.values[1:], "gain", base=scores.values[0])
    assert pca(gains).explained[0] == pytest.approx(0.812, abs=5e-4)
    (first, *_) = find_dominance(gains, 1)
    assert first.kind == "cell"
    names = scores["source"].values[1:], scores["target"].values
    assert (names[0][first.row], names[1][first.column]) == ("GLUE-STSB", "GLUE-MNLI")
    assert first.explained == pytest.approx(0.812, abs=5e-4)


def test_the_whole_analysis_warns_of_that_cell_and_of_the_few_rows(shared: Path) -> None:
    long = flan_t5(shared).to_dataframe("score").reset_index()
    study = TransferStudy.from_scores(pl.from_pandas(long[["source", "target", "score"]]))
    found = decompose_traits(study, rng=np.random.default_rng(0), transform="gain", n_resamples=100)
    text = "\n".join(found.summary())
    assert "trait 1 is made by one cell: cell GLUE-STSB → GLUE-MNLI" in text
    assert "8 rows are too few to tell" in text
    assert "only scores were given" in text
    assert found.over_examples is None
    # Its own resamples say so too: without the cell's source the component is another.
    assert found.sources[found.left_out.worst_row[0]] == "GLUE-STSB"


def test_the_papers_printed_figures_are_singular_vectors(shared: Path) -> None:
    folder = shared / "matrices" / "paper_2509_13624"
    loadings = pl.read_csv(folder / "pca_loadings_fig.csv")[:, 1:].to_numpy()
    weights = pl.read_csv(folder / "pca_row_weights_fig.csv")[:, 1:].to_numpy()
    # Both were printed with two digits.
    np.testing.assert_allclose(loadings @ loadings.T, np.eye(4), atol=0.02)
    np.testing.assert_allclose(weights.T @ weights, np.eye(4), atol=0.02)
    np.testing.assert_allclose(weights.sum(axis=0), 0, atol=0.02)


def test_a_matrix_made_of_the_papers_figures_has_them_as_its_traits(shared: Path) -> None:
    folder = shared / "matrices" / "paper_2509_13624"
    V = pl.read_csv(folder / "pca_loadings_fig.csv")[:, 1:].to_numpy().T
    U = pl.read_csv(folder / "pca_row_weights_fig.csv")[:, 1:].to_numpy()
    scores = 40 + U @ np.diag([60, 45, 30, 20]) @ V.T
    long = pl.DataFrame(
        {
            "source": np.repeat([BASE, *(f"a{at}" for at in range(10))], 10),
            "target": [f"t{at}" for at in range(10)] * 11,
            "score": scores.ravel() / 100,
        }
    )
    study = TransferStudy.from_scores(long)
    assert study_matrix(study, include_base=True).matrix.shape == (11, 10)
    found = decompose_traits(
        study, rng=np.random.default_rng(0), include_base=True, n_components=4, n_resamples=20
    ).to_xarray()
    phi = np.abs(np.diag(congruence(U, found["weight"].values)))
    assert phi.min() > 0.999
    assert np.abs(np.diag(congruence(V, found["axis"].values))).min() > 0.999
    assert found["source"].values[0] == BASE


@pytest.mark.parametrize(
    ("standardise", "published"),
    [(False, [0.8100, 0.1166, 0.0401]), (True, [0.7546, 0.148, 0.0491])],
)
def test_the_spectrum_of_observational_scaling_laws_comes_out(
    shared: Path, published: list[float], *, standardise: bool
) -> None:
    file = shared / "matrices" / "obs_scaling" / "base_llm_benchmark_eval_first_commit.csv"
    scores = pl.read_csv(file).select(SCALING).cast(pl.Float64).to_numpy()
    assert np.isnan(scores).any()
    explained = pca(complete_by_one_component(scores), 3, standardise=standardise).explained
    np.testing.assert_allclose(explained, published, atol=6e-5)
