"""Short answers are scored as a person would, and as SQuAD and the datasets define it."""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from transferlens.metrics import get_metric, normalize_answer, read_number


def score(metric, prediction, gold):
    return get_metric(metric).score(prediction, gold)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1,234", 1234),
        ("1,234,567.50", Fraction(2469135, 2)),
        ("$5", 5),
        ("$ 5", 5),
        ("-$5", -5),
        ("$-5", -5),
        ("£1,000", 1000),
        ("5.0", 5),
        ("5.", 5),
        ("so it is 5.", 5),
        (".5", Fraction(1, 2)),
        ("50%", 50),
        ("3/4", Fraction(3, 4)),
        ("1e-3", Fraction(1, 1000)),
        ("2 + 3 = 5", 5),
        ("7-3", 3),
        ("7 - 3", 3),
        ("x-3", 3),
        ("(-3)", -3),
        ("−3", -3),
        ("- 3 apples", 3),
        ("first 10, then 12 apples", 12),
        ("1,2", 2),
        ("12,34", 34),
        ("no number", None),
        ("", None),
        ("9" * 5000, None),
        ("5 of " + "9" * 5000, 5),
    ],
)
def test_a_number_is_read_as_a_person_reads_it(text, number):
    assert read_number(text) == number


@settings(deadline=None, max_examples=50)
@given(st.integers(-(10**9), 10**9), st.sampled_from(["{}", "{:,}", "{}.0", "{}.", "${}", "= {}"]))
def test_a_number_is_equal_to_itself_in_every_usual_spelling(number, spelling):
    text = spelling.format(number)
    assert score("numeric_match", text, str(number)) == 1
    assert score("numeric_match", text, str(number + 1)) == 0


@settings(deadline=None, max_examples=50)
@given(st.fractions(max_denominator=999), st.text(st.sampled_from(" \n\tabc=,$"), max_size=9))
def test_words_before_a_number_do_not_change_it(number, words):
    assert read_number(f"{words} {number}") == number


def test_a_very_long_answer_of_white_space_is_read_in_a_moment():
    # Quadratic time would take hours here; the suite's time limit would end it.
    assert read_number("-" + " " * 1_000_000 + "x 7" + "\n" * 1_000_000) == 7


@pytest.mark.parametrize(
    ("prediction", "gold", "expected"),
    [
        ("The cat.", "cat", 1),
        ("  CAT\n", "cat", 1),
        ("a cat", "the cat", 1),
        ("cats", "cat", 0),
        ("1.5", "15", 0),
        ("-3", "3", 0),
        ("1,000", "1000", 1),
        ("139 R 18", "139 R 18", 1),
        ("139 R 1", "139 R 18", 0),
        ("Washington, D.C.", "washington dc", 1),
        ("", "cat", 0),
        (None, "cat", 0),
        ("!", "!", 1),
        ("?", "!", 0),
    ],
)
def test_exact_match(prediction, gold, expected):
    assert score("exact_match", prediction, gold) == expected


def squad_f1(prediction: str, gold: str) -> float:
    """Score as the official script of SQuAD 1.1 does (arXiv:1606.05250)."""

    def tokens(text: str) -> list[str]:
        bare = "".join(c for c in text.lower() if c not in set(string.punctuation))
        return re.sub(r"\b(a|an|the)\b", " ", bare).split()

    have, want = tokens(prediction), tokens(gold)
    same = sum((Counter(have) & Counter(want)).values())
    if same == 0:
        return 0.0
    precision, recall = same / len(have), same / len(want)
    return 2 * precision * recall / (precision + recall)


WORDS = st.lists(
    st.sampled_from(["the", "a", "Cat", "cat,", "dog", "sat!", "on", "'mat'", "An"]), max_size=9
).map(" ".join)


@settings(deadline=None, max_examples=50)
@given(WORDS, WORDS)
@example("the cat sat on the mat", "a cat on a mat")
def test_token_f1_is_that_of_squad(prediction, gold):
    mine = score("f1", prediction, gold)
    if normalize_answer(gold):
        assert mine == pytest.approx(squad_f1(prediction, gold))
    else:
        assert math.isnan(mine)


@settings(deadline=None, max_examples=50)
@given(WORDS, WORDS)
def test_token_f1_is_symmetric_and_does_not_see_the_order(prediction, gold):
    if normalize_answer(gold) and normalize_answer(prediction):
        forward = score("f1", prediction, gold)
        assert forward == score("f1", gold, prediction)
        shuffled = " ".join(reversed(prediction.split()))
        assert forward == score("f1", shuffled, gold)


@pytest.mark.parametrize(
    ("metric", "gold"),
    [
        ("numeric_match", "none"),
        ("f1", "the"),
        ("rouge_l", "…"),
        ("code_similarity", "  "),
    ],
)
def test_where_the_reference_has_nothing_to_compare_the_score_is_nan(metric, gold):
    assert math.isnan(score(metric, "5 words", gold))
    assert math.isnan(score(metric, None, gold))


@pytest.mark.parametrize(
    "metric", ["accuracy", "exact_match", "f1", "numeric_match", "rouge_l", "code_similarity"]
)
@pytest.mark.parametrize("gold", ["5", "x = 5 + y"])
def test_the_reference_itself_scores_1_and_no_answer_0(metric, gold):
    assert score(metric, gold, gold) == pytest.approx(1)
    assert score(metric, None, gold) == 0
    assert score(metric, "", gold) == 0


@settings(deadline=None, max_examples=50)
@given(st.text(max_size=40), st.text(max_size=40))
@pytest.mark.parametrize(
    "metric", ["accuracy", "exact_match", "f1", "numeric_match", "rouge_l", "code_similarity"]
)
def test_every_score_is_nan_or_between_0_and_1(metric, prediction, gold):
    value = score(metric, prediction, gold)
    assert math.isnan(value) or 0 <= value <= 1 + 1e-12


def test_a_choice_is_right_or_wrong():
    assert score("accuracy", "yes", "yes") == 1
    assert score("accuracy", "Yes", "yes") == 0
