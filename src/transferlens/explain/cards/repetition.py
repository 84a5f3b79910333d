"""What a dataset says twice: equal rows, nearly equal rows, equal questions with two answers."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["conflicting_share", "duplicate_share", "near_duplicate_share"]

_SHINGLE = 3
# Eight bands of four: a pair of rows with a Jaccard similarity of 0.8 meets in one of them
# with a probability of .985, one of 0.4 with .19; those that meet are compared exactly.
_BANDS, _ROWS = 8, 4
_SAME = 0.8

_UInts = NDArray[np.uint64]


def duplicate_share(rows: Sequence[tuple[str, str]]) -> float:
    """Return the share of rows that are equal to an earlier row, in input and output."""
    return 1.0 - len(set(rows)) / len(rows)


def conflicting_share(rows: Sequence[tuple[str, str]]) -> float:
    """Return the share of rows whose input also stands with another output."""
    outputs = defaultdict(set)
    for given, wanted in rows:
        outputs[given].add(wanted)
    return sum(len(outputs[given]) > 1 for given, _ in rows) / len(rows)


def near_duplicate_share(texts: Sequence[Sequence[str]]) -> float:
    """Return the share of texts that nearly repeat an earlier one.

    Two texts are nearly equal where the sets of three successive words that they hold have
    a Jaccard similarity of at least 0.8. Candidates come from MinHash signatures, so that
    time grows with the number of texts, not of pairs.

    Parameters
    ----------
    texts
        Words of each text.

    References
    ----------
    .. [1] Broder. *On the resemblance and containment of documents*. 1997.
       doi:10.1109/SEQUEN.1997.666900
    """
    if not texts:
        return float("nan")
    times = Counter(map(tuple, texts))
    different = list(times)
    shingles, starts = _shingles(different)
    signatures = _signatures(shingles, starts)
    ends = np.append(starts[1:], len(shingles))
    repeated = np.zeros(len(different), dtype=np.bool_)
    for one, other in _candidates(signatures):
        later = max(one, other)
        if not repeated[later]:
            sets = [set(shingles[starts[at] : ends[at]].tolist()) for at in (one, other)]
            repeated[later] = len(sets[0] & sets[1]) >= _SAME * len(sets[0] | sets[1])
    counts = np.array([times[text] for text in different])
    return float((counts - 1 + repeated).sum() / len(texts))


def _shingles(texts: Sequence[tuple[str, ...]]) -> tuple[_UInts, NDArray[np.int64]]:
    """Hash the runs of three words of all texts; a shorter text is one run."""
    numbers: dict[str, int] = {}
    flat = [numbers.setdefault(word, len(numbers) + 1) for text in texts for word in text]
    codes = np.array(flat or [0], dtype=np.uint64)
    sizes = np.array([len(text) for text in texts])
    starts = np.cumsum(sizes) - sizes
    runs = np.maximum(sizes - _SHINGLE + 1, 1)
    first = np.cumsum(runs) - runs
    place = np.repeat(starts, runs) + np.arange(runs.sum()) - np.repeat(first, runs)
    end = np.repeat(starts + sizes, runs)
    hashed = np.zeros(len(place), dtype=np.uint64)
    for step in range(_SHINGLE):
        inside = place + step < end
        code = np.where(inside, codes[np.minimum(place + step, len(codes) - 1)], 0)
        hashed = _mixed(hashed + code.astype(np.uint64) + np.uint64(step + 1))
    return hashed, first


def _mixed(values: _UInts) -> _UInts:
    """Scramble 64 bits (the finaliser of splitmix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _signatures(shingles: _UInts, starts: NDArray[np.int64]) -> _UInts:
    """Smallest of each text's hashed runs under several hash functions, (text, function)."""
    columns = [
        np.minimum.reduceat(_mixed(shingles ^ _mixed(np.full(1, at + 1, np.uint64))), starts)
        for at in range(_BANDS * _ROWS)
    ]
    return np.stack(columns, axis=1)


def _candidates(signatures: _UInts) -> Iterator[tuple[int, int]]:
    """Yield pairs of texts that agree in all rows of a band: neighbours, and with the first."""
    for band in range(_BANDS):
        key = np.zeros(len(signatures), dtype=np.uint64)
        for column in signatures[:, band * _ROWS : (band + 1) * _ROWS].T:
            key = _mixed(key + column)
        order = np.argsort(key, kind="stable")
        same = key[order][1:] == key[order][:-1]
        first = order[0] if len(order) else 0
        for at in np.flatnonzero(same):
            if at == 0 or not same[at - 1]:
                first = order[at]
            yield int(order[at]), int(order[at + 1])
            if first != order[at]:
                yield int(first), int(order[at + 1])
