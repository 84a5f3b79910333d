"""Order and clusters of sources or targets, with bootstrap support."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.cluster.hierarchy import cophenet, fcluster, leaves_list, linkage, optimal_leaf_ordering
from scipy.spatial.distance import pdist, squareform

from transferlens.errors import AnalysisError
from transferlens.traits.arrays import Array, BoolArray, IntArray, require_matrix

__all__ = ["Clusters", "Linkage", "Seriation", "cluster", "path_length", "seriate"]

Linkage = Literal["average", "complete", "single", "ward"]
Metric = Literal["euclidean", "correlation"]

# More groups than this are no summary.
MOST_CLUSTERS = 20


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seriation:
    """An order of rows in which neighbours are alike."""

    order: IntArray
    """Row indices, shape (row,)."""
    tree: Array
    """SciPy linkage with its leaves in that order, shape (row - 1, 4)."""
    distances: Array
    """Condensed distances between rows."""
    cophenetic: float
    """Correlation of the tree's distances with the real ones: how tree-like the rows are."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Clusters:
    """Groups of rows, and how often resampled columns show the same groups."""

    seriation: Seriation
    labels: IntArray
    """Cluster of each row, 0 first along the order, shape (row,)."""
    silhouette: float
    """Mean silhouette of the chosen cut, from -1 to 1."""
    members: BoolArray
    """Rows under each node of the tree, shape (row - 1, row)."""
    support: Array
    """Share of bootstraps in which exactly these rows form a node, shape (row - 1,)."""

    @property
    def cluster_support(self) -> Array:
        """Support of each cluster, shape (cluster,); NaN for a cluster of one row."""
        out = []
        for label in range(int(self.labels.max()) + 1):
            node = (self.members == (self.labels == label)).all(axis=1)
            out.append(float(self.support[node][0]) if node.any() else np.nan)
        return np.array(out)


def seriate(
    matrix: Array, *, method: Linkage = "average", metric: Metric = "euclidean"
) -> Seriation:
    """Order rows by a tree whose leaves are flipped so that neighbours are nearest.

    Parameters
    ----------
    matrix
        Complete scores, shape (row, column); transpose to order targets.
    method
        How the distance between groups is measured.
    metric
        Distance between rows; ``correlation`` looks at profiles only, not at levels.

    References
    ----------
    .. [1] Bar-Joseph, Gifford, Jaakkola. *Fast optimal leaf ordering for hierarchical
       clustering*. 2001. doi:10.1093/bioinformatics/17.suppl_1.S22
    """
    values = require_matrix(matrix, min_rows=3)
    distances = _distances(values, metric)
    tree = optimal_leaf_ordering(linkage(distances, method=method), distances)
    fidelity = np.corrcoef(cophenet(tree), distances)[0, 1] if distances.std() > 0 else np.nan
    return Seriation(
        order=np.asarray(leaves_list(tree), dtype=np.int64),
        tree=np.asarray(tree),
        distances=distances,
        cophenetic=float(fidelity),
    )


def _distances(values: Array, metric: Metric) -> Array:
    if metric == "euclidean":
        return np.asarray(pdist(values))
    centred = values - values.mean(axis=1, keepdims=True)
    length = np.sqrt((centred**2).sum(axis=1, keepdims=True))
    if (length <= 1e-12 * np.abs(values).max(initial=1e-300)).any():
        msg = f"row {int(length.argmin())} has the same score everywhere and no profile"
        raise AnalysisError(msg)
    return np.asarray(np.maximum(pdist(centred / length, "sqeuclidean") / 2, 0.0))


def _quick(values: Array) -> Array:
    # Half of the digits are lost where rows are nearly equal, which a resample can afford.
    product = values @ values.T
    square = np.diag(product)
    upper = np.triu_indices(len(values), 1)
    return np.asarray(np.sqrt(np.maximum((square[:, None] + square - 2 * product)[upper], 0.0)))


def path_length(distances: Array, order: IntArray) -> float:
    """Sum of the distances between neighbours of an order, in the unit of the distances."""
    square = squareform(distances)
    return float(square[order[:-1], order[1:]].sum())


def cluster(
    matrix: Array,
    *,
    rng: np.random.Generator,
    n_clusters: int | None = None,
    n_resamples: int = 500,
    method: Linkage = "average",
    metric: Metric = "euclidean",
) -> Clusters:
    """Group rows, and say how often the groups survive other columns.

    Parameters
    ----------
    matrix
        Complete scores, shape (row, column).
    rng
        Draws columns with replacement.
    n_clusters
        Where to cut the tree; the cut with the best silhouette by default, of up to 20 clusters.
    n_resamples
        How often.
    method, metric
        As for :func:`seriate`.

    References
    ----------
    .. [1] Felsenstein. *Confidence limits on phylogenies: an approach using the bootstrap*.
       1985. doi:10.1111/j.1558-5646.1985.tb00420.x
    """
    values = require_matrix(matrix, min_rows=3, min_columns=2)
    seriation = seriate(values, method=method, metric=metric)
    values = values - values.mean(axis=0) if metric == "euclidean" else values
    n, p = values.shape
    if n_clusters is not None and not 1 <= n_clusters <= n:
        msg = f"n_clusters={n_clusters} with {n} rows; 1 to {n} are possible"
        raise AnalysisError(msg)
    square = squareform(seriation.distances)
    cuts = [n_clusters] if n_clusters else range(2, min(n - 1, MOST_CLUSTERS) + 1)
    widths = {cut: _silhouette(square, _cut(seriation, cut)) for cut in cuts}
    best = max(widths, key=lambda cut: (widths[cut], -cut))
    members = _members(seriation.tree)
    seen = np.zeros(len(members))
    for _ in range(n_resamples):
        drawn = values[:, rng.integers(p, size=p)]
        try:
            distances = _distances(drawn, metric) if metric == "correlation" else _quick(drawn)
            other = _members(linkage(distances, method=method))
        except AnalysisError:  # a row lost its profile: no tree, no support
            continue
        keys = {row.tobytes() for row in other}
        seen += [row.tobytes() in keys for row in members]
    return Clusters(
        seriation=seriation,
        labels=_cut(seriation, best),
        silhouette=widths[best],
        members=members,
        support=seen / n_resamples,
    )


def _cut(seriation: Seriation, n_clusters: int) -> IntArray:
    raw = fcluster(seriation.tree, n_clusters, criterion="maxclust")
    _, first = np.unique(raw[seriation.order], return_index=True)
    names = raw[seriation.order][np.sort(first)]
    return np.asarray([int(np.flatnonzero(names == label)[0]) for label in raw], dtype=np.int64)


def _silhouette(square: Array, labels: IntArray) -> float:
    one_hot = np.eye(int(labels.max()) + 1)[labels]
    size = one_hot.sum(axis=0)
    if len(size) < 2:
        return 0.0
    mean = square @ one_hot / size
    own = size[labels]
    row = np.arange(len(labels))
    inside = mean[row, labels] * own / np.maximum(own - 1, 1)
    mean[row, labels] = np.inf
    outside = mean.min(axis=1)
    widest = np.maximum(np.maximum(inside, outside), 1e-300)
    return float(np.where(own > 1, (outside - inside) / widest, 0.0).mean())


def _members(tree: Array) -> BoolArray:
    n = len(tree) + 1
    under = np.zeros((2 * n - 1, n), dtype=np.bool_)
    under[:n] = np.eye(n, dtype=np.bool_)
    for at, (left, right) in enumerate(tree[:, :2].astype(np.int64)):
        under[n + at] = under[left] | under[right]
    return under[n:]
