"""How alike the data of a source and of a target are, in several senses."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse, special

from transferlens.errors import AnalysisError, needs
from transferlens.explain.cards.card import DatasetCard
from transferlens.explain.cards.dataset import Dataset
from transferlens.stats.arrays import BoolArray, FloatArray

__all__ = [
    "Embedder",
    "Similarities",
    "embedder",
    "linguistic_distance",
    "output_divergence",
    "similarities",
]

Embedder = Callable[[Sequence[str]], FloatArray]
"""Texts -> vectors, (text, dimension)."""

_ROWS = 400
"""Evenly spaced rows of each dataset that are compared; they stand for all of them."""
_STYLE_WORDS = 150


class Similarities(NamedTuple):
    """All shapes are (source, target)."""

    semantic: FloatArray
    """Cosine of the mean TF-IDF vectors of content words, or of mean embeddings."""
    style: FloatArray
    """Cosine of standardised frequencies of function words and punctuation marks, -1 to 1.
    NaN with fewer than three datasets."""
    vocabulary: FloatArray
    """Share of the target's words, each occurrence counted, that the source has."""
    output_words: FloatArray
    """Share of the words of the target's answers that the source's outputs have: whether the
    source teaches the label words."""


def similarities(
    sources: Sequence[Dataset], targets: Sequence[Dataset], *, embed: Embedder | None = None
) -> Similarities:
    """Compare the inputs and outputs of each source with those of each target.

    Parameters
    ----------
    sources, targets
        Datasets; at most 400 evenly spaced rows of each are compared.
    embed
        Model for the semantic similarity, see `embedder`; TF-IDF by default.

    Returns
    -------
    Similarities
        NaN where a dataset has no words of the kind.

    References
    ----------
    .. [1] Smith, Aldridge. *Improving authorship attribution: optimizing Burrows' Delta
       method*. 2011. doi:10.1080/09296174.2011.533591
    """
    data = [dataset.part(_ROWS) for dataset in (*sources, *targets)]
    n = len(sources)
    counts, words = _counts([text for dataset in data for text in dataset.input_words])
    owner = _averager([len(dataset) for dataset in data])
    function = _function_words(words)
    if embed is None:
        vectors = _tf_idf(counts[:, ~function], owner)
    else:
        vectors = np.stack([_unit(embed(dataset.inputs)).mean(axis=0) for dataset in data])
    totals = sparse.csr_array((owner > 0).astype(np.float64) @ counts)
    answers, _ = _counts([[w for text in d.output_words for w in text] for d in data])
    return Similarities(
        semantic=_cosine(vectors[:n], vectors[n:]),
        style=_style(totals[:, function].toarray(), n),
        vocabulary=_covered(totals[:, ~function][:n], totals[:, ~function][n:]),
        output_words=_covered(answers[:n], answers[n:]),
    )


def output_divergence(sources: Sequence[Dataset], targets: Sequence[Dataset]) -> FloatArray:
    """Return how differently outputs are distributed, (source, target).

    Jensen-Shannon divergence in bits between the source's outputs and the target's gold
    answers, whole and in lower case: 0 is the same mix, 1 is nothing in common.
    """
    texts = [d.outputs for d in sources] + [d.golds for d in targets]
    counts, _ = _counts([[text.strip().casefold() for text in column] for column in texts])
    mixes = sparse.csr_array(counts.multiply(1.0 / counts.sum(axis=1)[:, None]))
    there = sparse.csc_array(mixes[len(sources) :])
    found = []
    for at in range(len(sources)):
        # Only what both write takes part in the sum, and free texts have little of it.
        row = mixes[[at]]
        p, q = row.data, there[:, row.indices].toarray()
        together = special.xlogy(p, p / (p + q)) + special.xlogy(q, q / (p + q))
        found.append(1.0 + np.where(q > 0, together, 0.0).sum(axis=1) / (2.0 * np.log(2.0)))
    return np.asarray(np.clip(np.array(found), 0.0, 1.0), dtype=np.float64)


def linguistic_distance(
    sources: Sequence[DatasetCard], targets: Sequence[DatasetCard]
) -> FloatArray:
    """Return the distance of the linguistic profiles, (source, target).

    Root mean square over the features of the difference in standard deviations over all
    datasets. Features that are not known of every dataset do not count; NaN without any.
    """
    cards = (*sources, *targets)
    shared = [
        name for name in cards[0].profile if all(name in card.profile for card in cards)
    ] if cards else []  # fmt: skip
    table = np.array([[card.profile[name] for name in shared] for card in cards])
    if not shared:
        return np.full((len(sources), len(targets)), np.nan)
    z = _standardised(table)
    differences = z[: len(sources), None] - z[None, len(sources) :]
    return np.asarray(np.sqrt((differences**2).mean(axis=2)))


def embedder(model: str) -> Embedder:
    """Return an embedding model by the name of a local folder or of one on the hub.

    Raises
    ------
    AnalysisError
        sentence-transformers is not installed, or the model cannot be loaded.
    """
    with needs(
        "sentence-transformers",
        extra="embeddings",
        purpose=f"the embedding model {model!r}",
        otherwise=", or leave the model out to use TF-IDF",
    ):
        package: Any = importlib.import_module("sentence_transformers")
    try:
        loaded = package.SentenceTransformer(model)
    # Whatever the package raises for a wrong name, the reader needs the same one line.
    except Exception as error:
        first = (str(error).splitlines() or [""])[0]
        msg = f"the embedding model {model!r} cannot be loaded: {first}"
        raise AnalysisError(msg) from error
    return lambda texts: np.asarray(
        loaded.encode(list(texts), show_progress_bar=False), dtype=np.float64
    )


def _counts(texts: Sequence[Sequence[str]]) -> tuple[sparse.csr_array, list[str]]:
    """Count words: (text, word) and the words."""
    numbers: dict[str, int] = {}
    flat = [numbers.setdefault(word, len(numbers)) for text in texts for word in text]
    ends = np.cumsum([0, *(len(text) for text in texts)])
    table = sparse.csr_array(
        (np.ones(len(flat)), np.array(flat, dtype=np.int64), ends),
        shape=(len(texts), max(len(numbers), 1)),
    )
    table.sum_duplicates()
    return table, list(numbers)


def _function_words(words: Sequence[str]) -> BoolArray:
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    mask = [word in ENGLISH_STOP_WORDS or not word[:1].isalnum() for word in words]
    return np.array(mask or [False], dtype=np.bool_)


def _averager(sizes: Sequence[int]) -> sparse.csr_array:
    """Return the matrix that takes the mean of the rows of each dataset."""
    owner = np.repeat(np.arange(len(sizes)), sizes)
    weight = 1.0 / np.repeat(np.asarray(sizes, dtype=np.float64), sizes)
    return sparse.csr_array((weight, (owner, np.arange(len(owner)))))


def _tf_idf(counts: sparse.csr_array, owner: sparse.csr_array) -> sparse.csr_array:
    from sklearn.feature_extraction.text import TfidfTransformer

    # A word of one text cannot make two texts alike.
    shared = np.asarray((counts > 0).sum(axis=0)).ravel() > 1
    weighted = TfidfTransformer(sublinear_tf=True).fit_transform(counts[:, shared])
    return owner @ sparse.csr_array(weighted)


def _style(totals: FloatArray, n_sources: int) -> FloatArray:
    per_dataset = totals.sum(axis=1)
    written = per_dataset > 0
    if written.sum() < 3:
        return np.full((n_sources, len(totals) - n_sources), np.nan)
    frequency = totals[written] / per_dataset[written, None]
    # Standardised, a rare mark would weigh as much as a frequent word.
    order = np.argsort(-frequency.mean(axis=0), kind="stable")[:_STYLE_WORDS]
    z = np.zeros((len(totals), len(order)))
    z[written] = _standardised(frequency[:, order])
    return _cosine(z[:n_sources], z[n_sources:])


def _standardised(table: FloatArray) -> FloatArray:
    """Bring each column to mean 0 and standard deviation 1; constant columns become 0."""
    centred = table - table.mean(axis=0)
    spread = centred.std(axis=0)
    scaled: FloatArray = np.where(spread > 1e-12, centred / np.where(spread > 0, spread, 1.0), 0.0)
    return scaled


def _unit(vectors: FloatArray) -> FloatArray:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: FloatArray = vectors / np.where(length > 0, length, 1.0)
    return unit


def _cosine(first: Any, second: Any) -> FloatArray:
    """Cosine of the rows of two dense or sparse matrices; NaN of a row without anything."""
    lengths = [np.sqrt(np.asarray((m * m).sum(axis=1), dtype=np.float64)) for m in (first, second)]
    product = first @ second.T
    dense = np.asarray(product.toarray() if sparse.issparse(product) else product)
    below = lengths[0][:, None] * lengths[1][None, :]
    return np.clip(dense / np.where(below > 0, below, np.nan), -1.0, 1.0)


def _covered(first: sparse.csr_array, second: sparse.csr_array) -> FloatArray:
    """Share of the words of each row of ``second`` that each row of ``first`` has."""
    has = sparse.csr_array((first > 0).astype(np.float64))
    total = np.asarray(second.sum(axis=1), dtype=np.float64).ravel()
    found = (has @ second.T).toarray()
    return np.asarray(found / np.where(total > 0, total, np.nan))
