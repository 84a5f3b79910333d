"""Which rows go together: properties that hold for any lengths."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from transferlens.engine.batches import by_length, optimizer_steps, to_write_together

lengths_of = st.lists(st.integers(1, 300), min_size=1, max_size=60)
budgets = st.integers(1, 2000)


def steps_of(lengths, budget, seed=0, **more):
    options = {"epochs": 1.0, "steps": None} | more
    return optimizer_steps(lengths, batch_tokens=budget, rng=np.random.default_rng(seed), **options)


@settings(deadline=None)
@given(lengths_of, budgets, st.integers(1, 4))
def test_every_row_is_seen_exactly_once_per_epoch(lengths, budget, epochs):
    flat = [row for step in steps_of(lengths, budget, epochs=epochs) for row in step]
    n = len(lengths)
    assert len(flat) == n * epochs
    for epoch in range(epochs):
        assert sorted(flat[epoch * n : (epoch + 1) * n]) == list(range(n))


@settings(deadline=None)
@given(lengths_of, budgets, st.integers(1, 3))
def test_no_step_exceeds_its_tokens_unless_it_is_a_single_row(lengths, budget, epochs):
    for step in steps_of(lengths, budget, epochs=epochs):
        assert step
        assert sum(lengths[row] for row in step) <= budget or len(step) == 1


@settings(deadline=None)
@given(lengths_of, budgets)
def test_a_step_ends_only_where_the_next_row_does_not_fit(lengths, budget):
    steps = steps_of(lengths, budget, epochs=2)
    for step, following in itertools.pairwise(steps):
        assert sum(lengths[row] for row in step) + lengths[following[0]] > budget


@settings(deadline=None)
@given(lengths_of, budgets, st.integers(1, 40))
def test_a_number_of_steps_is_kept_and_overrides_epochs(lengths, budget, steps):
    found = steps_of(lengths, budget, steps=steps, epochs=7.0)
    assert len(found) == steps
    seen = Counter(row for step in found for row in step)
    # Rows run through in whole orders, so none is an epoch ahead of another.
    assert max(seen.values()) - min(seen.get(row, 0) for row in range(len(lengths))) <= 1


@settings(deadline=None)
@given(lengths_of, budgets, st.floats(0.01, 3.0))
def test_a_fraction_of_an_epoch_takes_that_share_of_the_rows(lengths, budget, epochs):
    flat = [row for step in steps_of(lengths, budget, epochs=epochs) for row in step]
    assert len(flat) == max(round(epochs * len(lengths)), 1)
    counts = Counter(flat)
    assert max(counts.values()) - min(counts.get(r, 0) for r in range(len(lengths))) <= 1


def test_the_order_follows_from_the_seed_and_differs_between_epochs():
    lengths = [10] * 50
    first = steps_of(lengths, 10, seed=1, epochs=2)
    assert first == steps_of(lengths, 10, seed=1, epochs=2)
    assert first != steps_of(lengths, 10, seed=2, epochs=2)
    assert first[:50] != first[50:]


@settings(deadline=None)
@given(lengths_of, budgets)
def test_batches_by_length_hold_every_row_once_within_their_tokens(lengths, budget):
    batches = by_length(lengths, max_tokens=budget)
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    for batch in batches:
        width = max(lengths[row] for row in batch)
        assert len(batch) * width <= budget or len(batch) == 1
        padding = sum(width - lengths[row] for row in batch)
        assert padding <= max(0.15 * len(batch) * width, 256)
    order = [lengths[row] for batch in batches for row in batch]
    assert order == sorted(order, reverse=True)


@settings(deadline=None)
@given(lengths_of, budgets)
def test_batches_by_length_follow_from_the_lengths_alone(lengths, budget):
    assert by_length(lengths, max_tokens=budget) == by_length(tuple(lengths), max_tokens=budget)


def test_rows_of_one_length_fill_whole_batches():
    assert [len(batch) for batch in by_length([20] * 10, max_tokens=80)] == [4, 4, 2]


def test_nothing_gives_no_batches():
    assert by_length([], max_tokens=10) == []


@settings(deadline=None)
@given(lengths_of, budgets)
def test_every_row_writes_once_and_no_batch_exceeds_its_tokens(lengths, budget):
    batches = to_write_together(lengths, max_tokens=budget)
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[row] for row in batch) <= budget


@settings(deadline=None)
@given(st.lists(st.integers(1, 900), min_size=1, max_size=8), st.integers(1, 4000))
def test_no_other_cut_of_the_sorted_rows_writes_for_less(lengths, budget):
    def cost(batches):
        areas = [len(batch) * max(batch) for batch in batches]
        fits = all(
            len(batch) == 1 or area <= budget for batch, area in zip(batches, areas, strict=True)
        )
        return 2048 * len(batches) + sum(areas) if fits else np.inf

    rows = sorted(lengths, reverse=True)
    n = len(rows)
    cuts = [c for k in range(n) for c in itertools.combinations(range(1, n), k)]
    every = [[rows[a:b] for a, b in itertools.pairwise((0, *cut, n))] for cut in cuts]
    found = to_write_together(lengths, max_tokens=budget)
    assert cost([[lengths[i] for i in batch] for batch in found]) == min(map(cost, every))


def test_rows_that_a_step_hardly_feels_write_together():
    assert to_write_together([40, 250, 60, 30], max_tokens=8192) == [[1, 2, 0, 3]]
