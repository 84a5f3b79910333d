"""Names with their evidence, orders and groups with their support."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transferlens.errors import AnalysisError
from transferlens.traits import cluster, name_trait, path_length, seriate

TARGETS = ("gsm8k", "goat", "svamp", "imdb", "amazon", "yelp", "mnli", "pile")
FAMILIES = ("maths", "maths", "maths", "mood", "mood", "mood", "nli", "toxicity")


def name(loadings: list[float], **more: Any) -> Any:
    arguments = {"targets": TARGETS, "families": FAMILIES, **more}
    return name_trait(np.array(loadings), **arguments)


def test_a_family_that_alone_loads_on_one_side_names_the_trait() -> None:
    found = name([0.8, 0.9, 0.7, 0.0, 0.1, -0.1, 0.0, 0.1])
    assert (found.name, found.strength, found.pole) == ("maths", "strong", "high")
    assert found.for_ == ("goat", "gsm8k", "svamp")
    assert found.against == ()


def test_tasks_that_speak_against_the_name_are_listed_and_weaken_it() -> None:
    found = name([0.8, 0.0, 0.7, 0.0, 0.1, -0.1, 0.6, 0.1])
    assert found.name == "maths"
    assert found.strength in {"weak", "moderate"}
    assert set(found.against) == {"goat", "mnli"}
    assert "against" in found.sentence()


def test_the_other_side_of_the_trait_gives_a_name_at_its_low_end() -> None:
    found = name([0.0, 0.1, 0.0, -0.8, -0.9, -0.8, 0.1, 0.0])
    assert (found.name, found.pole) == ("mood", "low")
    assert "at its low end" in found.sentence()


@pytest.mark.parametrize(
    ("loadings", "more"),
    [
        ([0.9, 0, 0, 0.9, 0, 0, 0.9, 0.9], {}),
        ([0.0] * 8, {}),
        ([0.9, 0.8, 0.9, 0, 0, 0, 0, 0], {"significant": np.zeros(8, dtype=bool)}),
        ([0.9, 0.8, 0.9, 0, 0, 0, 0, 0], {"families": (None,) * 8}),
        ([0.9, 0.8, 0.9, 0, 0, 0, 0, 0], {"families": ("all",) * 8}),
    ],
)
def test_without_evidence_there_is_no_name(loadings: list[float], more: dict[str, Any]) -> None:
    assert name(loadings, **more) is None


def test_a_metric_names_a_trait_only_weakly_and_only_where_families_do_not() -> None:
    metrics = ("exact",) * 3 + ("accuracy",) * 5
    loadings = [0.9, 0.8, 0.9, 0, 0, 0, 0, 0]
    found = name(loadings, families=(None,) * 8, metrics=metrics)
    assert (found.name, found.strength) == ("tasks scored by exact", "weak")
    assert name(loadings, metrics=metrics).name == "maths"


def test_the_users_name_wins() -> None:
    found = name([0.1] * 8, given="reasoning")
    assert (found.name, found.strength) == ("reasoning", "given")
    assert found.sentence() == "reasoning (named by the user)"


def test_lists_of_different_length_are_refused() -> None:
    with pytest.raises(AnalysisError, match="differ in length"):
        name([0.1, 0.2])


@given(seed=st.integers(0, 2**32 - 1), size=st.floats(0.01, 100))
@settings(max_examples=30, deadline=None)
def test_order_of_tasks_size_and_sign_do_not_change_a_name(seed: int, size: float) -> None:
    draw = np.random.default_rng(seed)
    loadings = draw.normal(size=8) + np.repeat([1.5, 0, 0], [3, 3, 2])
    order = draw.permutation(8)
    one = name(loadings.tolist())
    other = name_trait(
        -size * loadings[order],
        targets=[TARGETS[at] for at in order],
        families=[FAMILIES[at] for at in order],
    )
    if one is None:
        assert other is None
        return
    assert (one.name, one.strength, one.for_) == (other.name, other.strength, other.for_)
    assert one.pole != other.pole


def blobs(seed: int = 0, spread: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    truth = draw.permutation(np.repeat([0, 1, 2], 5))
    return 4 * draw.normal(size=(3, 12))[truth] + spread * draw.normal(size=(15, 12)), truth


def test_planted_groups_are_found_with_full_support() -> None:
    X, truth = blobs()
    found = cluster(X, rng=np.random.default_rng(0), n_resamples=100)
    same = found.labels[:, None] == found.labels[None]
    np.testing.assert_array_equal(same, truth[:, None] == truth[None])
    assert (found.cluster_support > 0.95).all()
    assert found.silhouette > 0.6
    assert (np.diff(found.labels[found.seriation.order]) >= 0).all()


def test_groups_of_noise_have_no_support() -> None:
    X = np.random.default_rng(0).normal(size=(15, 12))
    found = cluster(X, rng=np.random.default_rng(0), n_clusters=3, n_resamples=100)
    assert np.nanmin(found.cluster_support) < 0.5
    assert found.labels.max() == 2


def test_the_order_is_the_best_that_flips_of_the_tree_allow() -> None:
    X = np.random.default_rng(0).normal(size=(6, 3))
    found = seriate(X)
    n = len(X)
    under = [[at] for at in range(n)]
    orders: list[list[list[int]]] = [[[at]] for at in range(n)]
    for left, right in found.tree[:, :2].astype(int):
        under.append(under[left] + under[right])
        orders.append(
            [
                first + second
                for a, b in itertools.product(orders[left], orders[right])
                for first, second in ((a, b), (b, a))
            ]
        )
    best = min(path_length(found.distances, np.array(order)) for order in orders[-1])
    assert path_length(found.distances, found.order) == pytest.approx(best)


def test_correlation_sees_profiles_and_not_levels() -> None:
    X, truth = blobs(spread=0.2)
    shifted = 3 * X + np.random.default_rng(0).normal(size=(15, 1)) * 50
    found = cluster(
        shifted, rng=np.random.default_rng(0), n_clusters=3, n_resamples=50, metric="correlation"
    )
    np.testing.assert_array_equal(
        found.labels[:, None] == found.labels, truth[:, None] == truth[None]
    )


def test_the_same_groups_come_back_whatever_the_order_of_the_rows() -> None:
    X, _ = blobs(2)
    order = np.random.default_rng(1).permutation(15)
    one = cluster(X, rng=np.random.default_rng(0), n_resamples=20)
    other = cluster(X[order], rng=np.random.default_rng(0), n_resamples=20)
    np.testing.assert_array_equal(
        (one.labels[:, None] == one.labels)[np.ix_(order, order)],
        other.labels[:, None] == other.labels,
    )


def test_a_row_without_a_profile_and_an_impossible_cut_are_refused() -> None:
    X, _ = blobs()
    X[3] = 1.0
    with pytest.raises(AnalysisError, match="row 3 has the same score everywhere"):
        seriate(X, metric="correlation")
    with pytest.raises(AnalysisError, match="1 to 15 are possible"):
        cluster(X, rng=np.random.default_rng(0), n_clusters=16)
