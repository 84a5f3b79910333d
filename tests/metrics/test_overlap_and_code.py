"""Long answers and code are compared as ROUGE-L and BLEU are defined, and nothing is run."""

from __future__ import annotations

import ast
import itertools
import math
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transferlens.metrics import code_block, code_similarity, get_metric, rouge_l
from transferlens.metrics.code import syntax_match, token_bleu
from transferlens.metrics.overlap import lcs_length

SHORT = st.lists(st.sampled_from("abc"), max_size=7)


def longest(first, second):
    """Try every subsequence of the first, longest first."""
    for length in range(len(first), 0, -1):
        for part in itertools.combinations(first, length):
            rest = iter(second)
            if all(item in rest for item in part):
                return length
    return 0


@settings(deadline=None, max_examples=50)
@given(SHORT, SHORT)
def test_the_longest_common_subsequence_is_that_of_trying_all(first, second):
    assert lcs_length(first, second) == longest(first, second)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.sampled_from("ab"), max_size=200), st.lists(st.sampled_from("ab"), max_size=200))
def test_it_is_symmetric_and_that_of_the_reversed_lists(first, second):
    length = lcs_length(first, second)
    assert lcs_length(second, first) == length
    assert lcs_length(first[::-1], second[::-1]) == length


def test_rouge_l_by_hand():
    # lcs("police killed the gunman", "police kill the gunman") = police the gunman
    assert rouge_l("police kill the gunman", "police killed the gunman") == pytest.approx(3 / 4)
    # 2 of 4 words in order: precision 2/4, recall 2/4
    assert rouge_l("the gunman kill police", "police killed the gunman") == pytest.approx(2 / 4)
    assert rouge_l("Police, killed THE gunman!", "police killed the gunman") == 1


@settings(deadline=None, max_examples=50)
@given(SHORT, SHORT.filter(bool))
def test_rouge_l_is_the_f_measure_of_precision_and_recall(have, want):
    length = longest(have, want)
    expected = 0.0
    if length:
        precision, recall = length / len(have), length / len(want)
        expected = 2 * precision * recall / (precision + recall)
    assert rouge_l(" ".join(have), " ".join(want)) == pytest.approx(expected)


def bleu(have, want):
    """Follow the definition: clipped counts, one added above unigrams, brevity penalty."""
    if not have or not want:
        return 0.0
    product, orders = 1.0, min(4, len(want))
    for n in range(1, orders + 1):
        grams = [
            [tuple(side[i : i + n]) for i in range(len(side) - n + 1)] for side in (have, want)
        ]
        hits = sum(min(grams[0].count(g), grams[1].count(g)) for g in set(grams[0]))
        more = int(n > 1)
        product *= (hits + more) / (len(grams[0]) + more)
    penalty = 1.0 if len(have) >= len(want) else math.exp(1 - len(want) / len(have))
    return penalty * product ** (1 / orders)


@settings(deadline=None, max_examples=50)
@given(SHORT, SHORT)
def test_token_bleu_follows_its_definition(have, want):
    assert token_bleu(have, want) == pytest.approx(bleu(have, want), abs=1e-12)


def test_syntax_match_counts_the_subtrees_of_the_reference():
    # Module(Assign(Name, BinOp(Name, Add, Name))) has three subtrees with children.
    assert syntax_match("total = price + tax", "a = b + c") == 1
    assert syntax_match("a = b - c", "a = b + c") == 0
    assert syntax_match("print(1)\na = b + c", "a = b + c") == pytest.approx(2 / 3)
    assert syntax_match("not python at all", "a = b + c") == 0
    assert math.isnan(syntax_match("a = 1", "not python at all"))


@settings(deadline=None, max_examples=50)
@given(st.sampled_from(["a = 1", "f(x)", "for i in y:\n    print(i)", "x = [i for i in y]"]))
def test_syntax_subtrees_are_those_that_ast_walk_finds(code):
    nodes = [
        node
        for node in ast.walk(ast.parse(code))
        if any(not isinstance(child, ast.expr_context) for child in ast.iter_child_nodes(node))
    ]
    whole = code + "\nimport something"
    # The reference's own root is not in the longer program, all other subtrees are.
    assert syntax_match(whole, code) == pytest.approx((len(nodes) - 1) / len(nodes))


def test_names_matter_half_and_layout_not_at_all():
    gold = "def add(a, b):\n    return a + b\n"
    assert code_similarity("def add(a,b): return a+b", gold) == pytest.approx(1)
    renamed = code_similarity("def plus(x, y):\n    return x + y\n", gold)
    assert 0.5 < renamed < 1
    assert code_similarity("def add(a, b):\n    return a - b\n", gold) < 1


def test_code_of_another_language_is_compared_by_tokens_alone():
    gold = "int add(int a, int b) { return a + b; }"
    assert code_similarity(gold, gold) == pytest.approx(1)
    assert 0 < code_similarity("int add(int a) { return a; }", gold) < 1


def test_only_the_code_between_fences_counts():
    text = "Here it is:\n```python\nx = 1\n```\nIt sets x.\n```\ny = 2\n```"
    assert code_block(text) == "x = 1"
    assert code_block("x = 1") == "x = 1"
    assert code_block("```python\nx = 1") == "x = 1"
    assert code_similarity(text, "```\nx = 1\n```") == pytest.approx(1)


def test_answers_of_any_shape_are_scored_in_a_moment():
    gold = "x = 1"
    for text in ('"' + '\\"' * 20_000, "'" * 20_000, "`" * 20_000, "(" * 20_000, "\0", "x = " * 9):
        assert 0 <= code_similarity(text, gold) <= 1


def test_scoring_as_code_runs_nothing(tmp_path):
    file = tmp_path / "made"
    code = f"open({str(file)!r}, 'w').write('x')"
    assert code_similarity(code, code) == pytest.approx(1)
    assert not file.exists()
    assert not get_metric("code_similarity").runs_code


@settings(deadline=None, max_examples=50)
@given(st.lists(st.sampled_from(["x", "=", "1", "+", "f", "(", ")"]), min_size=1, max_size=12))
def test_a_shorter_answer_than_the_reference_never_scores_more_than_the_reference(tokens):
    assert token_bleu(tokens[:-1], tokens) <= token_bleu(tokens, tokens)
    assert Counter(tokens)
