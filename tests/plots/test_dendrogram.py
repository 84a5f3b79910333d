"""The tree is the clustering's tree, and each branch carries its support."""

from __future__ import annotations

import hashlib
from itertools import pairwise

import numpy as np
import pytest
from scipy.cluster.hierarchy import dendrogram

from plots.planted import planted_matrix
from transferlens.errors import AnalysisError
from transferlens.plots import plot_dendrogram, write_figure
from transferlens.traits import cluster


def grouped(rows=14, columns=10, **options):
    matrix = planted_matrix(rows, columns, **options)
    names = matrix["target"].values.tolist()
    return cluster(matrix.values.T, rng=np.random.default_rng(0), n_resamples=60), names


@pytest.fixture(scope="module")
def tree():
    return grouped(noise=4.0)


def test_the_branches_stand_where_scipy_draws_them(tree):
    clusters, names = tree
    data = plot_dendrogram(clusters, names=names, backend="none")
    theirs = dendrogram(clusters.seriation.tree, no_plot=True)
    assert data["leaf"].values.tolist() == [names[at] for at in theirs["leaves"]]
    # SciPy puts leaf i at 5 + 10 i; a branch is its two arms and the bar between them.
    middles = sorted(((x[1] + x[2]) / 2 - 5) / 10 for x in theirs["icoord"])
    np.testing.assert_allclose(np.sort(data["position"]), middles)
    np.testing.assert_allclose(np.sort(data["height"]), sorted(y[1] for y in theirs["dcoord"]))


def test_each_node_has_the_support_of_its_rows_and_its_cluster(tree):
    clusters, names = tree
    data = plot_dendrogram(clusters, names=names, backend="none")
    np.testing.assert_array_equal(data["support"], clusters.support)
    for node, label in enumerate(data["cluster"].to_numpy()):
        labels = set(clusters.labels[clusters.members[node]].tolist())
        assert labels == {label} if label >= 0 else len(labels) > 1


def test_the_planted_families_are_the_clusters():
    clusters, names = grouped()
    data = plot_dendrogram(clusters, names=names, backend="none")
    odd = [int(str(name).rpartition("_")[2]) % 2 for name in data["leaf"].values]
    assert len({(o, int(c)) for o, c in zip(odd, data["leaf_cluster"], strict=True)}) == 2


def test_the_support_of_every_branch_but_the_root_is_printed_in_percent(tree):
    clusters, names = tree
    axes = plot_dendrogram(clusters, names=names).axes[0]
    shown = sorted(int(text.get_text()) for text in axes.texts)
    assert shown == sorted(round(100 * one) for one in clusters.support[:-1])


def test_a_dot_is_filled_where_the_support_is_at_least_70_percent(tree):
    clusters, names = tree
    axes = plot_dendrogram(clusters, names=names).axes[0]
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    full = [line.get_markerfacecolor() != "white" for line in dots]
    assert full == (clusters.support[:-1] >= 0.7).tolist()
    assert 0 < sum(full) < len(full)


def test_neighbouring_clusters_have_different_colours(tree):
    clusters, names = tree
    data = plot_dendrogram(clusters, names=names, backend="none")
    axes = plot_dendrogram(clusters, names=names).axes[0]
    colours = [text.get_color() for text in axes.get_yticklabels()]
    for (left, a), (right, b) in pairwise(zip(colours, data["leaf_cluster"], strict=True)):
        assert (left == right) == (int(a) == int(b))


@pytest.mark.parametrize("size", [3, 30, 100])
def test_leaves_do_not_overlap_at_any_size(size):
    clusters, names = grouped(12, size)
    figure = plot_dendrogram(clusters, names=names)
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].get_yticklabels()]
    assert len(boxes) == size
    for above, below in pairwise(boxes):
        assert below.y1 <= above.y0 + 1
    assert all(box.x1 <= figure.bbox.x1 for box in boxes)


def test_names_must_be_as_many_as_rows(tree):
    clusters, names = tree
    with pytest.raises(AnalysisError, match="9 names for 10 rows"):
        plot_dendrogram(clusters, names=names[1:])


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_the_same_tree_gives_the_same_bytes(tmp_path, tree, kind):
    clusters, names = tree
    digests = {
        hashlib.sha256(
            write_figure(
                plot_dendrogram(clusters, names=names), tmp_path / f"{at}.{kind}"
            ).read_bytes()
        ).hexdigest()
        for at in range(2)
    }
    assert len(digests) == 1
