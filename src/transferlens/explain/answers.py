"""What every model answered on one target, as arrays: the raw material of the mechanisms."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from transferlens.errors import AnalysisError, ResultsError, did_you_mean
from transferlens.explain.ratio import ratio
from transferlens.results import BASE, TargetInfo, TransferStudy
from transferlens.results.aggregate import positions
from transferlens.stats.arrays import BoolArray, FloatArray, IntArray

__all__ = [
    "MISSING",
    "UNREADABLE",
    "TargetAnswers",
    "iter_answers",
    "mean_over_runs",
    "read_answers",
]

UNREADABLE = -1
"""Place of an answer that is none of the labels, or that could not be read at all."""
MISSING = -2
"""Place of an answer that was never asked for."""

_ROWS_AT_ONCE = 1_200_000
_MOST_LABELS = 20
_FEWEST_PER_LABEL = 5
_COLUMNS = ("target", "source", "seed", "example", "gold", "score", "n_tokens", "truncated")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TargetAnswers:
    """All models on one target; the base is the first of them."""

    info: TargetInfo
    models: tuple[str, ...]
    """The base, then the study's sources."""
    labels: tuple[str, ...]
    """The answers that every example can have; empty where there is no such list, as for
    numbers, texts, or choices that differ between the examples."""
    written: bool
    """Whether answers were generated, so that they have a length and can be unreadable."""
    example: IntArray
    """Numbers of the examples, (example,)."""
    gold: IntArray
    """Place of the gold answer among the labels, `UNREADABLE` without labels; (example,)."""
    answer: IntArray
    """Place of the answer among the labels, `UNREADABLE` or `MISSING`; without labels 0
    where an answer could be read. Of shape (model, seed, example), like those below."""
    score: FloatArray
    """In the target's unit; NaN where not scored."""
    n_tokens: FloatArray
    """Length of the answer in tokens; NaN where not known."""
    truncated: BoolArray
    """Whether the answer was cut at the longest length allowed."""
    logs: FloatArray | None
    """Log-likelihood of each label, (model, seed, example, label); None where not known."""

    @property
    def sign(self) -> float:
        """1 where a higher score is better, -1 where a lower one is."""
        return 1.0 if self.info.higher_is_better else -1.0

    @property
    def scored(self) -> BoolArray:
        """Which answers have a score, (model, seed, example)."""
        return ~np.isnan(self.score)

    def place(self, source: str) -> int:
        """Return the place of a source among the models.

        Raises
        ------
        AnalysisError
            There is none of this name.
        """
        if source not in self.models:
            hint = did_you_mean(source, self.models[1:])
            msg = f"the study has no source {source!r}.{hint}"
            raise AnalysisError(msg)
        return self.models.index(source)


def read_answers(study: TransferStudy, target: str) -> TargetAnswers:
    """Return all answers of one target; see `iter_answers`."""
    return next(iter_answers(study, [target]))


def iter_answers(
    study: TransferStudy,
    targets: Iterable[str] | None = None,
    *,
    known: Sequence[TargetAnswers] | None = None,
) -> Iterator[TargetAnswers]:
    """Yield the answers of each target, all or the given ones; from ``known``, where given.

    The labels of a target are the choices stored with its examples, where all
    examples have the same ones, in any order; where no texts are stored they are its
    gold answers, if these are at most twenty and have five examples each on average.
    An answer counts as a label whatever its case and the white space around it.

    Raises
    ------
    AnalysisError
        The study has scores only.
    ResultsError
        A target is unknown.
    """
    if study.predictions is None:
        msg = "mechanisms need predictions, but this study has scores only; import the samples"
        raise AnalysisError(msg)
    infos = {info.name: info for info in study.targets}
    wanted = list(infos) if targets is None else list(targets)
    for name in wanted:
        if name not in infos:
            msg = f"the study has no target {name!r}.{did_you_mean(name, infos)}"
            raise ResultsError(msg)
    if known is not None:
        yield from (answers for answers in known if answers.info.name in wanted)
        return
    models = [BASE, *(source.name for source in study.sources)]
    for group in study.target_groups(wanted, n_rows=_ROWS_AT_ONCE):
        chosen = study.predictions.filter(
            pl.col("target").is_in(group), pl.col("source").is_in(models)
        )
        rows = chosen.select(
            *_COLUMNS, "prediction", "choice_logprobs", written=pl.col("completion").is_not_null()
        ).collect()
        parts = rows.partition_by("target", as_dict=True)
        for name in group:
            yield _target_answers(study, infos[name], parts.get((name,), rows.clear()))


def mean_over_runs(values: FloatArray) -> FloatArray:
    """Average what is not NaN over the seeds: (model, seed, example) to (model, example)."""
    known = ~np.isnan(values)
    n = known.sum(axis=1)
    total = np.where(known, values, 0.0).sum(axis=1)
    return ratio(total, n.astype(np.float64))


def _target_answers(study: TransferStudy, info: TargetInfo, rows: pl.DataFrame) -> TargetAnswers:
    choices = _stored_choices(study, info)
    golds = rows.select("example", "gold").unique("example").sort("example")
    labels = _labels(golds["gold"], choices)
    codes = _codes(labels)
    example = golds["example"].to_numpy()
    models = (BASE, *(source.name for source in study.sources))
    seeds = rows["seed"].unique().sort().to_list()
    place = (
        positions(rows["source"], models),
        positions(rows["seed"], seeds),
        np.searchsorted(example, rows["example"].to_numpy()),
    )
    shape = (len(models), len(seeds), len(example))
    answer = np.full(shape, MISSING, dtype=np.int64)
    answer[place] = _places(rows["prediction"], codes)
    arrays = {name: np.full(shape, np.nan) for name in ("score", "n_tokens", "truncated")}
    for name, array in arrays.items():
        array[place] = rows[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
    known = choices.sort("example")["choices"].to_list() if choices is not None else None
    return TargetAnswers(
        info=info,
        models=models,
        labels=labels,
        written=bool(rows["written"].any()),
        example=example,
        gold=_places(golds["gold"], codes) if labels else np.full(len(example), UNREADABLE),
        answer=answer,
        score=arrays["score"],
        n_tokens=arrays["n_tokens"],
        truncated=arrays["truncated"] == 1.0,
        logs=_logs(rows, place, shape, labels, known),
    )


def _stored_choices(study: TransferStudy, info: TargetInfo) -> pl.DataFrame | None:
    if study.path is None or info.examples_id is None:
        return None
    texts = study.example_texts(info.name).select("example", "choices")
    return None if texts["choices"].null_count() else texts


def _labels(gold: pl.Series, choices: pl.DataFrame | None) -> tuple[str, ...]:
    if choices is not None:
        sets = {tuple(sorted(row)) for row in choices["choices"].to_list()}
        return tuple(choices["choices"][0].to_list()) if len(sets) == 1 else ()
    found = gold.drop_nulls().unique().sort().to_list()
    few = 2 <= len(found) <= _MOST_LABELS and len(gold) >= _FEWEST_PER_LABEL * len(found)
    return tuple(found) if few else ()


def _codes(labels: tuple[str, ...]) -> Mapping[str, int]:
    folded = {label.strip().casefold(): place for place, label in enumerate(labels)}
    if len(folded) < len(labels):
        return {label: place for place, label in enumerate(labels)}
    # Both spellings, so that a label is itself even where it has white space around it.
    return folded | {label: place for place, label in enumerate(labels)}


def _places(answers: pl.Series, codes: Mapping[str, int]) -> IntArray:
    if not codes:
        readable = answers.is_not_null().to_numpy()
        return np.where(readable, 0, UNREADABLE)
    distinct = answers.drop_nulls().unique().to_list()
    known = {text: codes.get(text, codes.get(text.strip().casefold())) for text in distinct}
    found = {text: place for text, place in known.items() if place is not None}
    if not found:
        return np.full(len(answers), UNREADABLE, dtype=np.int64)
    return answers.replace_strict(
        list(found), list(found.values()), default=UNREADABLE, return_dtype=pl.Int64
    ).to_numpy()


def _logs(
    rows: pl.DataFrame,
    place: tuple[IntArray, IntArray, IntArray],
    shape: tuple[int, int, int],
    labels: tuple[str, ...],
    choices: list[list[str]] | None,
) -> FloatArray | None:
    """Put the log-likelihoods in the order of the labels."""
    lengths = rows["choice_logprobs"].list.len()
    if not labels or lengths.null_count() or not (lengths == len(labels)).all() or not len(rows):
        return None
    given = np.asarray(rows["choice_logprobs"].explode(empty_as_null=False).to_numpy())
    given = given.reshape(len(rows), len(labels))
    if choices is not None:
        at = {label: number for number, label in enumerate(labels)}
        order = np.array([[at[text] for text in row] for row in choices])[place[2]]
    else:
        common = _order(given, rows["prediction"], labels)
        if common is None:
            return None
        order = np.broadcast_to(common, given.shape)
    sorted_logs = np.empty_like(given)
    np.put_along_axis(sorted_logs, order, given, axis=1)
    logs = np.full((*shape, len(labels)), np.nan)
    logs[place] = sorted_logs
    return logs


def _order(given: FloatArray, answers: pl.Series, labels: tuple[str, ...]) -> IntArray | None:
    """Find which label each column belongs to: the answer is the likeliest label.

    None where two labels are never answered, so that it cannot be known.
    """
    K = len(labels)
    chosen = _places(answers, _codes(labels))
    votes = np.zeros((K, K))
    np.add.at(votes, (given.argmax(axis=1)[chosen >= 0], chosen[chosen >= 0]), 1)
    order = np.where(votes.sum(axis=1) > 0, votes.argmax(axis=1), -1)
    left = sorted(set(range(K)) - set(order.tolist()))
    if (order == -1).sum() == 1 and len(left) == 1:
        order[order == -1] = left[0]
    return order if sorted(order.tolist()) == list(range(K)) else None
