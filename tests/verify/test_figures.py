"""A figure agrees as far as the printed digits say, and no further."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transferlens.verify import Figure


def figure(published, ours, tolerance=None):
    return Figure(origin="", quantity="", published=published, ours=ours, tolerance=tolerance)


@given(value=st.floats(-1e3, 1e3), digits=st.integers(0, 6))
def test_a_number_agrees_with_its_own_rounding(value, digits):
    assert figure(f"{value:.{digits}f}", value).agrees


@given(value=st.integers(-(10**6), 10**6), digits=st.integers(0, 6), sign=st.sampled_from([-1, 1]))
def test_a_number_one_printed_unit_away_differs(value, digits, sign):
    unit = 10.0**-digits
    found = figure(f"{value * unit:.{digits}f}", (value + sign) * unit)
    assert not found.agrees
    assert found.verdict == "differs"
    assert found.difference == pytest.approx(sign * unit)


def test_trailing_zeros_are_printed_digits():
    assert figure("0.8", 0.81).agrees
    assert not figure("0.80", 0.81).agrees
    assert figure("0.8390", 0.0).digits == 4


def test_a_stated_tolerance_replaces_that_of_the_digits():
    assert figure("1", 1.6, tolerance=0.7).agrees
    assert not figure("1", 1.6, tolerance=0.5).agrees


def test_what_cannot_be_computed_differs():
    assert not figure("0.5", math.nan).agrees


def test_words_must_be_the_same():
    assert figure("MNLI", "MNLI").agrees
    assert not figure("MNLI", "CoLA").agrees
    assert math.isnan(figure("MNLI", "CoLA").difference)
