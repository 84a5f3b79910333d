"""The figures of arXiv:2509.13624: what its printed traits are, and its confusion matrices."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from transferlens.metrics import get_metric
from transferlens.results import PREDICTION_SCHEMA, TransferStudy
from transferlens.traits import congruence, paper_pca
from transferlens.verify.figure import Figure
from transferlens.verify.tables import Array, given_table, numbers, shipped_table

__all__ = ["paper_copies", "paper_figures"]

ORIGIN = "arXiv:2509.13624 (figures)"

# What two printed digits behind the point can be off.
ROUNDED = 0.005

ACCURACIES = (
    ("IMDB", "Flipkart", "0.8555"),
    ("Pile", "Flipkart", "0.8390"),
    ("Flipkart-balanced", "IMDB", "0.5780"),
    ("Flipkart", "IMDB", "0.7715"),
)


def paper_figures(
    loadings: pl.DataFrame, weights: pl.DataFrame, confusion: pl.DataFrame
) -> Iterator[Figure]:
    """Check that the printed traits are singular vectors, and read the confusion matrices.

    Parameters
    ----------
    loadings
        A row per component, a column per target.
    weights
        A row per model, a column per component.
    confusion
        Columns source, target, gold, predicted, count.
    """
    V = numbers(loadings, loadings.columns[1:]).T
    U = numbers(weights, weights.columns[1:])
    yield from _orthonormal("loadings", V)
    yield from _orthonormal("row weights", U)
    sums = np.abs(U.sum(axis=0))
    most = len(U) * ROUNDED
    yield _figure("row weights: largest sum of a column", "0", float(sums.max()), most)
    yield from _convention(U, V)
    yield from _accuracies(confusion)


def _figure(quantity: str, published: str, ours: float, tolerance: float | None = None) -> Figure:
    return Figure(
        origin=ORIGIN, quantity=quantity, published=published, ours=ours, tolerance=tolerance
    )


def _orthonormal(what: str, vectors: Array) -> Iterator[Figure]:
    # By Cauchy and Schwarz: what rounding can do to a norm, and twice for a product of two.
    most = float(ROUNDED * np.sqrt(len(vectors)))
    products = vectors.T @ vectors
    norms = np.sqrt(np.diag(products))
    off = np.abs(products - np.diag(np.diag(products)))
    yield _figure(f"{what}: smallest norm of a component", "1", float(norms.min()), most)
    yield _figure(f"{what}: largest norm of a component", "1", float(norms.max()), most)
    yield _figure(f"{what}: largest product of two", "0", float(off.max()), 2 * most)


def _convention(U: Array, V: Array) -> Iterator[Figure]:
    """Compose a matrix from the printed parts; its decomposition must print them again.

    It does so only if the weights are U (not U·S), the columns are centred
    and the base is one of the rows.
    """
    # Not printed. Any distinct values, largest first, give the same vectors.
    singular = np.array([4.0, 3.0, 2.0, 1.0])
    matrix = U * singular @ V.T
    again = paper_pca(matrix[1:], matrix[0], n_components=len(singular))
    for what, printed, ours in (("weights", U, again.weights), ("loadings", V, again.loadings)):
        phi = np.abs(np.diag(congruence(printed, ours)))
        yield _figure(
            f"{what} as paper_pca prints them: least congruence", "1.00", float(phi.min())
        )


def _accuracies(confusion: pl.DataFrame) -> Iterator[Figure]:
    study = confusion_study(confusion)
    scores = study.scores["score"].isel(seed=0)
    for source, target, published in ACCURACIES:
        ours = float(scores.sel(source=source, target=target))
        yield _figure(f"accuracy, {source} adapter on {target}", published, ours)
    rows = study.score_rows.filter(pl.col("source") == "Flipkart-balanced")
    yield _figure("examples behind a confusion matrix", "2000", float(rows["n_scored"][0]))
    assert study.predictions is not None  # noqa: S101 - made of predictions two lines above
    answers = study.predictions.filter(pl.col("source") == "Flipkart-balanced").collect()
    for column, what, published in (
        ("prediction", "predicted as class 1 by the balanced adapter", "0.074"),
        ("gold", "truly of class 1", "0.494"),
    ):
        share = float((answers[column] == "1").cast(pl.Float64).to_numpy().mean())
        yield _figure(f"share of IMDB {what}", published, share)


def confusion_study(confusion: pl.DataFrame) -> TransferStudy:
    """Return the study behind confusion matrices: a scored prediction for each count."""
    metric = get_metric("accuracy")
    counts = numbers(confusion, ["count"])[:, 0].astype(np.int64)
    places = np.repeat(np.arange(len(counts)), counts)
    rows = confusion[places].with_columns(example=pl.int_range(pl.len()).over("source", "target"))
    golds, answers = rows["gold"].to_list(), rows["predicted"].to_list()
    scores = [metric.score(answer, gold) for answer, gold in zip(answers, golds, strict=True)]
    known = rows.select("source", "target", "example", "gold", prediction="predicted").with_columns(
        seed=pl.lit(0), score=pl.Series(scores, dtype=pl.Float64), example_hash=pl.lit("")
    )
    unknown = [
        pl.lit(None, dtype=dtype).alias(name)
        for name, dtype in PREDICTION_SCHEMA.items()
        if name not in known.columns
    ]
    return TransferStudy.from_predictions(known.with_columns(unknown))


def shipped_paper() -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Return the shipped loadings, weights and confusion matrices."""
    loadings, weights, confusion = map(
        shipped_table, ("paper_loadings", "paper_weights", "paper_confusion")
    )
    return loadings, weights, confusion


def paper_copies(folder: Path) -> Iterator[Figure]:
    """Compare the shipped loadings and weights with those of the user's folder.

    Raises
    ------
    DataError
        The folder does not hold them.
    """
    loadings, weights, _ = shipped_paper()
    for what, shipped, name in (
        ("loadings", loadings, "pca_loadings_fig"),
        ("row weights", weights, "pca_row_weights_fig"),
    ):
        given = given_table(folder / "paper_2509_13624", name)
        ours = numbers(given, given.columns[1:])
        same = numbers(shipped, shipped.columns[1:])
        differ = (ours != same).sum() if ours.shape == same.shape else max(ours.size, same.size)
        yield _figure(f"{what}: cells that differ from the shipped copy", "0", float(differ))
