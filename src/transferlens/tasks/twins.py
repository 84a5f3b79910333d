"""The rows of a twin: those of its source, changed in exactly one property.

What is drawn depends on the seed of the study's limits alone, so that every training seed
of a twin sees the same rows, as those of its source do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice
from typing import Any, NamedTuple

import numpy as np

from transferlens.errors import DataError, did_you_mean
from transferlens.study import ControlSpec, Property, SkewSpec
from transferlens.tasks.example import Example
from transferlens.tasks.scramble import cut_words, shuffle_words
from transferlens.tasks.task import Task

__all__ = ["Original", "Twin", "make_twin"]

Examples = Sequence[Example]

_STREAM = 1
"""Keeps a twin's random numbers apart from the draw of its source's rows."""

_MOST_REPEATS = 5
"""A row that stands more often would be learnt by heart, which is another property."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """A source, as its twins need it."""

    task: Task
    examples: tuple[Example, ...]
    """The rows that it is trained on."""
    count_tokens: Callable[[Examples], list[int]]
    """Rows -> tokens of each, as training would see them."""


class Twin(NamedTuple):
    """The rows of a twin."""

    examples: tuple[Example, ...]
    notes: tuple[str, ...]
    """What should be known of them, one line each."""


class _Making(NamedTuple):
    """What every property needs."""

    source: Original
    others: Mapping[str, Original]
    seed: int

    def order(self) -> list[int]:
        """Return the places of the rows in random order."""
        # Only `random` has a stream that NumPy keeps the same from version to version.
        rng = np.random.default_rng([self.seed, _STREAM])
        order: list[int] = np.argsort(rng.random(len(self.source.examples)), kind="stable").tolist()
        return order

    def pool(self) -> tuple[Example, ...]:
        """Return all rows of the source's data, those that it is trained on first."""
        return self.source.task.pool(seed=self.seed)


def make_twin(
    control: ControlSpec, sources: Mapping[str, Original], *, seed: int, where: str
) -> Twin:
    """Return the rows of a twin.

    Parameters
    ----------
    control
        Which twin of which source.
    sources
        The study's sources by name.
    seed
        Seed of the draw of rows.
    where
        ``file:line: controls.N``, to begin a message with.

    Raises
    ------
    DataError
        The source cannot be changed in this way, or would not be changed by it.
    """
    source = sources[control.source]
    try:
        twin = _MAKERS[control.kind](_Making(source, sources, seed), getattr(control, control.kind))
        if control.kind != "reseeded":
            _refuse_no_change(twin, source)
    except DataError as error:
        msg = f"{where}: {control.kind} twin of {control.source!r}: {error}"
        raise DataError(msg) from None
    return twin


def _refuse_no_change(twin: Twin, source: Original) -> None:
    if Counter(twin.examples) == Counter(source.examples):
        msg = "the twin would have the same rows as its source; remove it"
        raise DataError(msg)


def _reseeded(making: _Making, _: int) -> Twin:
    return Twin(making.source.examples, ())


def _mislabelled(making: _Making, _: object) -> Twin:
    examples = making.source.examples
    given = [examples[place] for place in making.order()]
    if len({example.choices for example in examples}) == 1:
        changed = [
            replace(example, gold=other.gold, completion=other.completion)
            for example, other in zip(examples, given, strict=True)
        ]
    else:
        changed = [_with_place_of(*pair) for pair in zip(examples, given, strict=True)]
    kept = sum(new.gold == old.gold for new, old in zip(changed, examples, strict=True))
    share = kept / len(examples)
    return Twin(tuple(changed), (f"{share:.0%} of its labels are right by chance",))


def _with_place_of(example: Example, other: Example) -> Example:
    """Return the example with the choice at the place that is right in another one."""
    if example.choices is None or other.choices is None or example.completion != example.gold:
        msg = "its choices differ from row to row and its completions are more than the choice"
        raise DataError(msg)
    gold = example.choices[other.choices.index(other.gold) % len(example.choices)]
    return replace(example, gold=gold, completion=gold)


def _balanced(making: _Making, _: object) -> Twin:
    labels, n = _labels(making), len(making.source.examples)
    if n < len(labels):
        msg = f"{n} rows are fewer than its {len(labels)} classes; raise the limit"
        raise DataError(msg)
    share, rest = divmod(n, len(labels))
    wanted = {label: share + (place < rest) for place, label in enumerate(labels)}
    return _of_classes(making, wanted)


def _skewed(making: _Making, skew: SkewSpec) -> Twin:
    labels = _labels(making)
    counts = Counter(dict.fromkeys(labels, 0))
    counts.update(example.gold for example in making.source.examples)
    top = skew.label if skew.label is not None else max(labels, key=counts.__getitem__)
    if top not in counts:
        msg = f"{top!r} is none of its classes.{did_you_mean(top, labels)}"
        raise DataError(msg)
    n = len(making.source.examples)
    n_top = min(max(round(skew.share * n), 1), n - 1)
    others = {label: max(counts[label], 1) for label in labels if label != top}
    return _of_classes(making, {top: n_top, **_shared_out(n - n_top, others)})


def _shared_out(n: int, weights: Mapping[str, int]) -> dict[str, int]:
    """Share out rows in proportion to weights; the largest remainders get what is left."""
    exact = {label: n * weight / sum(weights.values()) for label, weight in weights.items()}
    counts = {label: int(value) for label, value in exact.items()}
    remainders = sorted(exact, key=lambda label: counts[label] - exact[label])
    for label in remainders[: n - sum(counts.values())]:
        counts[label] += 1
    return counts


def _labels(making: _Making) -> tuple[str, ...]:
    """Return the classes of the source."""
    examples = making.source.examples
    if making.source.task.kind != "choice":
        msg = "its answers are written, so it has no classes; take a source with choices"
        raise DataError(msg)
    if len({frozenset(example.choices or ()) for example in examples}) > 1:
        msg = "its choices differ from row to row, so it has no classes"
        raise DataError(msg)
    return examples[0].choices or ()


def _of_classes(making: _Making, wanted: Mapping[str, int]) -> Twin:
    by_label: dict[str, list[Example]] = {label: [] for label in wanted}
    for example in making.pool():
        by_label[example.gold].append(example)
    return _resampled((f"of {label!r}", by_label[label], n) for label, n in wanted.items())


def _resampled(parts: Iterable[tuple[str, list[Example], int]]) -> Twin:
    """Take rows of each part in their order, from the beginning again where they do not suffice."""
    examples: list[Example] = []
    notes = []
    for what, rows, n in parts:
        if n > _MOST_REPEATS * len(rows):
            msg = (
                f"too few rows {what}: {len(rows)} for {n} places, and a row may stand at most "
                f"{_MOST_REPEATS} times; lower the source's limit"
            )
            raise DataError(msg)
        if n > len(rows):
            notes.append(f"{len(rows)} rows {what} fill {n} places: they are repeated")
        examples += islice(cycle(rows), n)
    return Twin(tuple(examples), tuple(notes))


def _truncated_outputs(making: _Making, most: int) -> Twin:
    examples = making.source.examples
    cut = sum(_n_words(example) > most for example in examples)
    if not cut:
        longest = max(map(_n_words, examples))
        msg = f"no answer has more than {most} words (the longest {longest}), so none is cut"
        raise DataError(msg)
    changed = (replace(e, completion=cut_words(e.completion, most)) for e in examples)
    return Twin(tuple(changed), (f"{cut} of {len(examples)} answers are cut",))


def _n_words(example: Example) -> int:
    return len(example.completion.split())


def _length_matched(making: _Making, other: str) -> Twin:
    lengths = np.array([_n_words(example) for example in making.others[other].examples])
    before = float(np.mean([_n_words(example) for example in making.source.examples]))
    n = len(making.source.examples)
    # The other's lengths at as many places as there are rows.
    aims = np.quantile(lengths, (np.arange(n) + 0.5) / n, method="inverted_cdf")
    by_length: dict[int, list[Example]] = {}
    for example in making.pool():
        by_length.setdefault(_n_words(example), []).append(example)
    counts = _nearest(aims.tolist(), {length: len(rows) for length, rows in by_length.items()})
    after = sum(length * count for length, count in counts.items()) / n
    aim = float(lengths.mean())
    if abs(after - aim) >= abs(before - aim) / 2:
        msg = (
            f"its answers have {before:.1f} words on average, those of {other!r} {aim:.1f}, and "
            f"the best choice of rows {after:.1f}; take sources whose lengths overlap"
        )
        raise DataError(msg)
    twin = _resampled(
        (f"with {length} words", by_length[length], count)
        for length, count in sorted(counts.items())
    )
    note = f"its answers have {after:.1f} words on average, {before:.1f} before"
    return Twin(twin.examples, (note, *twin.notes))


def _nearest(aims: Sequence[float], n_rows: Mapping[int, int]) -> Counter[int]:
    """Return how many rows of each length come nearest to the lengths that are aimed at."""
    left = {length: _MOST_REPEATS * n for length, n in n_rows.items()}
    counts: Counter[int] = Counter()
    for aim in aims:
        length = min(left, key=lambda known: (abs(known - aim), known))
        counts[length] += 1
        left[length] -= 1
        if not left[length]:
            del left[length]
    return counts


def _shuffled_words(making: _Making, _: object) -> Twin:
    examples = making.source.examples
    rng = np.random.default_rng([making.seed, _STREAM])
    prompts = shuffle_words([example.prompt for example in examples], rng=rng)
    changed = (replace(e, prompt=p) for e, p in zip(examples, prompts, strict=True))
    return Twin(tuple(changed), ())


def _token_matched(making: _Making, name: str) -> Twin:
    other = making.others[name]
    aim = sum(other.count_tokens(other.examples))
    pool = making.pool()
    total = np.cumsum(making.source.count_tokens(pool) * _MOST_REPEATS)
    if aim > total[-1]:
        msg = (
            f"all its {len(pool)} rows have {total[-1] // _MOST_REPEATS} tokens, too few for {aim} "
            f"even {_MOST_REPEATS} times; lower the other source's limit"
        )
        raise DataError(msg)
    n = int(np.abs(total - aim).argmin()) + 1
    twin = _resampled([("at all", list(pool), n)])
    note = f"its {n} rows have {total[n - 1]} tokens, for {aim}"
    return Twin(twin.examples, (note, *twin.notes))


def _prompt_format(making: _Making, template: str) -> Twin:
    source = making.source
    spec = source.task.spec.model_copy(update={"prompt": template})
    examples = replace(source.task, spec=spec).train(len(source.examples), seed=making.seed)
    if [e.gold for e in examples] != [e.gold for e in source.examples]:
        msg = "its rows are no longer all different in this format; use more columns in it"
        raise DataError(msg)
    return Twin(examples, ())


_MAKERS: Mapping[Property, Callable[[_Making, Any], Twin]] = {
    "mislabelled": _mislabelled,
    "balanced": _balanced,
    "skewed": _skewed,
    "truncated_outputs": _truncated_outputs,
    "length_matched": _length_matched,
    "shuffled_words": _shuffled_words,
    "token_matched": _token_matched,
    "reseeded": _reseeded,
    "prompt_format": _prompt_format,
}
