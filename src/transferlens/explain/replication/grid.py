"""What replicates over all pairs of several studies: other methods, other bases."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from transferlens.errors import AnalysisError
from transferlens.explain.amounts import decimals
from transferlens.explain.replication.compare import compare_studies
from transferlens.explain.replication.result import Replication
from transferlens.results import TransferStudy
from transferlens.stats import adjust_p_values
from transferlens.stats.arrays import FloatArray

__all__ = ["GridReplication", "compare_all"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GridReplication:
    """Every pair of several studies, compared; p-values are adjusted over the pairs (Holm)."""

    labels: tuple[str, ...]
    pairs: tuple[Replication, ...]
    """In the order of ``labels``: first against second, first against third, and so on."""
    agreement: pl.DataFrame
    """A row per pair and scope (``other tasks``, ``pairs``, ``all cells``): ``first``,
    ``second``, ``scope``, ``n_cells``, ``r`` with ``low``, ``high``, ``p_value``,
    ``p_adjusted``, and ``same_sign`` with ``sign_low``, ``sign_high``, ``sign_chance``,
    ``sign_p_value``, ``sign_p_adjusted``. Adjusted over the pairs of a scope; NaN: not tested."""
    traits: pl.DataFrame
    """A row per pair and trait of the first study: ``first``, ``second``, ``trait``,
    ``partner``, ``congruence`` with ``low``, ``high``, ``p_value``, ``p_adjusted`` (over all
    rows), and ``verdict`` of the congruence alone."""
    cells: pl.DataFrame
    """A row per cell that all studies have: ``source``, ``target``, ``n_helps`` and ``n_harms``
    (studies in which the gain is significant), ``n_studies``, and ``verdict``: ``everywhere``
    (significant with one sign in all), ``some`` (in some, never with the other sign),
    ``opposite`` (significant with both signs), ``nowhere``, ``not tested`` (in one of them)."""
    not_compared: tuple[str, ...]
    level: float

    def sentences(self) -> tuple[str, ...]:
        """Say what replicates over all pairs and what does not, a sentence each."""
        return (*self._of_gains(), *self._of_signs(), *self._of_traits(), self._of_cells())

    def _of_gains(self) -> Iterator[str]:
        words = {
            "other tasks": "Gains on other tasks agree",
            "pairs": "What is specific to a pair agrees",
        }
        for scope, what in words.items():
            rows = self.agreement.filter(pl.col("scope") == scope, pl.col("r").is_not_nan())
            if rows.height:
                sure = rows.filter(pl.col("p_adjusted") <= self.level).height
                weakest = rows.sort("r").row(0, named=True)
                yield (
                    f"{what} significantly in {sure} of {rows.height} pairs of studies "
                    f"(Holm); r from {decimals(weakest['r'], 2)} ({weakest['first']} and "
                    f"{weakest['second']}) to {decimals(rows['r'].to_numpy().max(), 2)}."
                )

    def _of_signs(self) -> Iterator[str]:
        rows = self.agreement.filter(
            pl.col("scope") == "other tasks", pl.col("same_sign").is_not_nan()
        )
        if rows.height:
            sure = rows.filter(pl.col("sign_p_adjusted") <= self.level).height
            shares = 100 * rows["same_sign"].to_numpy()
            yield (
                f"Signs on other tasks agree more than by chance in {sure} of {rows.height} pairs "
                f"(Holm); on {decimals(shares.min(), 0)} to {decimals(shares.max(), 0)} % of gains."
            )

    def _of_traits(self) -> Iterator[str]:
        for (trait,), rows in self.traits.sort("trait").group_by("trait", maintain_order=True):
            sure = rows.filter(
                pl.col("verdict").is_in(["equal", "similar"]), pl.col("p_adjusted") <= self.level
            )
            phi = rows["congruence"].to_numpy()
            yield (
                f"Trait {trait} has a partner that is equal or similar, beyond chance (Holm), in "
                f"{sure.height} of {rows.height} pairs; congruence {decimals(phi.min(), 2)} to "
                f"{decimals(phi.max(), 2)}."
            )

    def _of_cells(self) -> str:
        n = dict(self.cells.group_by("verdict").len().iter_rows())
        if n.get("not tested", 0) == self.cells.height:
            return (
                "Which gains replicate in all studies cannot be tested: there is no evidence per "
                "cell in at least one of them."
            )
        return (
            f"Of {self.cells.height} gains in all {len(self.labels)} studies, "
            f"{n.get('everywhere', 0)} are significant with one sign in all, "
            f"{n.get('some', 0)} in some, {n.get('opposite', 0)} with opposite signs, "
            f"{n.get('nowhere', 0)} in none."
        )


def compare_all(
    studies: Mapping[str, TransferStudy],
    *,
    level: float = 0.05,
    n_traits: int | None = None,
    n_resamples: int = 999,
) -> GridReplication:
    """Compare every pair of several studies, and say what replicates over all of them.

    Parameters
    ----------
    studies
        What to call a study -> the study; at least two.
    level, n_traits, n_resamples
        As `compare_studies`.

    Raises
    ------
    AnalysisError
        There are fewer than two studies, or no pair of them can be compared.
    """
    if len(studies) < 2:
        msg = f"{len(studies)} study cannot be compared with itself: give two or more"
        raise AnalysisError(msg)
    pairs, refused = [], []
    for one, other in itertools.combinations(studies, 2):
        try:
            pairs.append(
                compare_studies(
                    studies[one], studies[other], labels=(one, other),
                    level=level, n_traits=n_traits, n_resamples=n_resamples,
                )
            )  # fmt: skip
        except AnalysisError as error:
            refused.append(str(error))
    if not pairs:
        raise AnalysisError(refused[0])
    lines = [f"{' and '.join(p.labels)}: {line}" for p in pairs for line in p.left_out]
    return GridReplication(
        labels=tuple(studies),
        pairs=tuple(pairs),
        agreement=_agreement(pairs),
        traits=_traits(pairs),
        cells=_cells(pairs, len(studies), level),
        not_compared=(*refused, *lines),
        level=level,
    )


def _holm(values: pl.Series) -> FloatArray:
    return adjust_p_values(values.to_numpy(), method="holm")


def _agreement(pairs: list[Replication]) -> pl.DataFrame:
    names = (
        "scope", "n_cells", "r", "low", "high", "p_value", "same_sign", "sign_low", "sign_high",
        "sign_chance", "sign_p_value",
    )  # fmt: skip
    frame = pl.DataFrame(
        [
            {"first": pair.labels[0], "second": pair.labels[1]}
            | {name: getattr(one, name) for name in names}
            for pair in pairs
            for one in pair.gains
        ]
    )
    parts = [
        part.with_columns(
            p_adjusted=_holm(part["p_value"]), sign_p_adjusted=_holm(part["sign_p_value"])
        )
        for part in frame.partition_by("scope", maintain_order=True)
    ]
    return pl.concat(parts)


def _traits(pairs: list[Replication]) -> pl.DataFrame:
    schema = {
        "first": pl.String, "second": pl.String, "trait": pl.Int64, "partner": pl.Int64,
        "congruence": pl.Float64, "low": pl.Float64, "high": pl.Float64, "p_value": pl.Float64,
        "verdict": pl.String,
    }  # fmt: skip
    rows = [
        (*pair.labels, t.first, t.second, t.congruence, t.low, t.high, t.p_value, t.verdict)
        for pair in pairs
        for t in pair.traits
    ]
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    return frame.with_columns(p_adjusted=_holm(frame["p_value"]))


def _cells(pairs: list[Replication], n_studies: int, level: float) -> pl.DataFrame:
    """Count in how many studies each gain is significant, by its sign."""
    seen: dict[tuple[str, str], dict[str, float]] = {}
    for pair in pairs:
        for row in pair.cells.iter_rows(named=True):
            own = seen.setdefault((row["source"], row["target"]), {})
            for label, side in zip(pair.labels, ("first", "second"), strict=True):
                p = row[f"{side}_p_adjusted"]
                sure = np.sign(row[f"{side}_gain"]) if p <= level else 0.0
                own[label] = float("nan") if np.isnan(p) else float(sure)
    rows = [
        (source, target, helps, harms, n_studies, _verdict(own.values(), n_studies))
        for (source, target), own in seen.items()
        if len(own) == n_studies
        for helps, harms in [(sum(v > 0 for v in own.values()), sum(v < 0 for v in own.values()))]
    ]
    names = ["source", "target", "n_helps", "n_harms", "n_studies", "verdict"]
    kinds = [pl.String, pl.String, pl.Int64, pl.Int64, pl.Int64, pl.String]
    return pl.DataFrame(rows, schema=dict(zip(names, kinds, strict=True)), orient="row")


def _verdict(signs: Iterable[float], n_studies: int) -> str:
    found = np.array(list(signs))
    if np.isnan(found).any():
        return "not tested"
    helps, harms = int((found > 0).sum()), int((found < 0).sum())
    if helps and harms:
        return "opposite"
    if n_studies in {helps, harms}:
        return "everywhere"
    return "some" if helps or harms else "nowhere"
