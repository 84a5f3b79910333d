"""The offline suite keeps what it promises: splits, classes, lengths, answers, English."""

from __future__ import annotations

import ast
import hashlib
import itertools
import re
import runpy
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from transferlens.errors import DataError
from transferlens.tasks.suite import MAX_ROWS, SUITE, generate
from transferlens.tasks.suite.corpus import documents, plain, spans
from transferlens.tasks.suite.draw import Draw, partition_of
from transferlens.tasks.suite.language import article, number_word, plural
from transferlens.tasks.suite.lexicon.actions import INTRANSITIVE
from transferlens.tasks.suite.lexicon.opinions import FILMS, PRODUCTS
from transferlens.tasks.suite.lexicon.people import TRADES
from transferlens.tasks.suite.lexicon.topics import ANYONE

ROOT = Path(__file__).parents[2]
CHOICE_TASKS = [name for name, task in SUITE.items() if task.kind == "choice"]
LENGTH_TASKS = [name for name, task in SUITE.items() if task.has_length]
SENTENCE_TASKS = ["sentiment", "sentiment_skewed", "topic", "paraphrase", "reading", "rewriting"]
BYSTANDER = re.compile(rf"the ({'|'.join(TRADES)}) ({'|'.join(v.past for v in INTRANSITIVE)}) ")


@pytest.fixture(scope="module")
def train():
    return {name: generate(name, split="train", n=4_000) for name in SUITE}


@pytest.fixture(scope="module")
def test():
    return {name: generate(name, split="test", n=800, seed=5) for name in SUITE}


@pytest.fixture(scope="module")
def prose():
    return [plain(document) for document in itertools.islice(documents(seed=3), 10_000)]


def sentences(texts):
    """Return the sentences that carry content: asides that any split may hold are left out."""
    asides = {fact.lower() for domain in (FILMS, PRODUCTS) for fact in domain.facts}
    found = set()
    for text in texts:
        body = re.sub(r"(?m)^(\w+ ?\w*|Rewrite[^:]*): ", "", text)
        for part in re.split(r"(?<=[.])\s+|\n", body):
            plain = part.rstrip(".").lower()
            aside = plain in asides or plain.startswith(ANYONE) or BYSTANDER.match(plain)
            aside = aside or part.endswith(("?", ":"))
            if plain.count(" ") >= 3 and not aside:
                found.add(plain)
    return found


def test_the_suite_holds_ten_tasks_of_at_least_five_abilities():
    assert len(SUITE) == 10
    assert len({task.family for task in SUITE.values()}) >= 5


@pytest.mark.parametrize("name", SUITE)
def test_every_task_has_four_thousand_different_rows_in_the_common_layout(name, train):
    rows, task = train[name], SUITE[name]
    assert len({row["prompt"] for row in rows}) == len(rows) == 4_000
    for row in rows:
        assert list(row) == ["prompt", "completion", "label", "choices"]
        assert row["prompt"] == row["prompt"].strip()
        assert row["completion"] == row["completion"].strip() != ""
        assert row["choices"] == (list(task.choices) if task.choices else None)
        if task.kind == "choice":
            assert row["completion"] == row["label"] in row["choices"]


@pytest.mark.parametrize("name", SUITE)
def test_no_test_prompt_is_a_training_prompt(name, train, test):
    assert not {row["prompt"] for row in train[name]} & {row["prompt"] for row in test[name]}


@pytest.mark.parametrize("name", SENTENCE_TASKS)
def test_no_sentence_of_a_test_prompt_occurs_in_training(name, train, test):
    held_out = sentences(row["prompt"] for row in test[name])
    assert len(held_out) > 500
    assert not held_out & sentences(row["prompt"] for row in train[name])


@pytest.mark.parametrize("name", SENTENCE_TASKS)
def test_no_sentence_of_a_test_prompt_occurs_in_the_pretraining_text(name, test, prose):
    held_out = sentences(row["prompt"] for row in test[name])
    assert not held_out & sentences(prose)


def test_no_sum_that_arithmetic_tests_occurs_in_training_or_in_the_pretraining_text(train, prose):
    texts = [row["completion"] for row in train["word_problems"]] + prose
    facts = re.findall(r"(\d+) ([-+*]) (\d+) =", "\n".join(texts))
    assert len(facts) > 5_000
    for a, sign, b in facts:
        common = min(int(a), int(b)) <= 10 and (sign in "+-" or max(int(a), int(b)) <= 10)
        assert common or partition_of(f"{a}{sign}{b}") != "test"


def test_the_marked_spans_of_a_document_make_up_its_text_and_most_documents_have_one():
    marked = 0
    for document in itertools.islice(documents(seed=3), 500):
        assert "".join(text for text, _ in spans(document)) == plain(document)
        assert plain(document).isprintable() or "\n" in plain(document)
        marked += any(follows for _, follows in spans(document))
    assert marked > 450


def test_the_pretraining_text_is_that_of_the_embedded_model():
    text = "\0".join(itertools.islice(documents(seed=1), 2_000))
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "6e2bafcfb5d65678"


@pytest.mark.parametrize("name", SUITE)
def test_the_same_seed_gives_the_same_rows_and_another_seed_others(name):
    rows = generate(name, split="train", n=30, seed=4)
    assert rows == generate(name, split="train", n=30, seed=4)
    assert rows != generate(name, split="train", n=30, seed=5)


@pytest.mark.parametrize("name", CHOICE_TASKS)
def test_the_classes_have_the_shares_that_the_task_declares(name, train):
    counts = Counter(row["label"] for row in train[name])
    for label, weight in SUITE[name].class_weights.items():
        assert abs(counts[label] - 4_000 * weight) < 1


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(1, 60), weights=st.lists(st.integers(0, 9), min_size=6, max_size=6).filter(any)
)
def test_planted_class_weights_are_met_to_within_one_row(n, weights):
    wanted = dict(zip(SUITE["topic"].choices, weights, strict=True))
    counts = Counter(r["label"] for r in generate("topic", split="test", n=n, class_weights=wanted))
    assert sum(counts.values()) == n
    for label, weight in wanted.items():
        assert abs(counts[label] - n * weight / sum(weights)) < 1


@pytest.mark.parametrize("name", LENGTH_TASKS)
def test_longer_outputs_are_longer_and_leave_the_answers_alone(name):
    words = {}
    for length in ("short", "normal", "long"):
        rows = generate(name, split="train", n=300, output_length=length)
        words[length] = np.mean([len(row["completion"].split()) for row in rows])
    assert words["long"] > 1.4 * words["normal"] > 2.8 * words["short"] * 0.9


def test_rewriting_has_clearly_the_longest_outputs(test):
    words = {n: np.mean([len(r["completion"].split()) for r in rows]) for n, rows in test.items()}
    assert words.pop("rewriting") > 2 * max(words.values())


def test_arithmetic_answers_are_right(test):
    checked = 0
    spelled = {number_word(number): number for number in range(100)}
    signs = {"plus": 1, "minus": -1}
    for row in test["arithmetic"]:
        found = re.search(r"(?:out|is) (\S+) (plus|minus) ([^?.]+)", row["prompt"])
        if found:
            a, b = (spelled[w] if w in spelled else int(w) for w in (found[1], found[3]))
            assert int(row["label"]) == a + signs[found[2]] * b
            checked += 1
    assert checked > 100


def test_every_line_of_a_rationale_is_right_and_the_last_gives_the_answer(train):
    for row in train["word_problems"]:
        *lines, answer = row["completion"].split("\n")
        assert answer == f"#### {row['label']}"
        for line in lines:
            sum_, _, result = line.partition(" = ")
            a, sign, b = sum_.split()
            value = {"+": int(a) + int(b), "-": int(a) - int(b), "*": int(a) * int(b)}[sign]
            assert value == int(result) >= 0
        assert lines[-1].endswith(f"= {row['label']}")


def test_every_reading_answer_stands_in_its_passage(train):
    for row in train["reading"]:
        passage, _, _ = row["prompt"].partition("\nQuestion:")
        assert row["label"].lower() in passage.lower()


def test_words_of_the_hypothesis_alone_do_not_tell_the_relation(train, test):
    def hypotheses(rows):
        return [re.search(r"Hypothesis: (.*)\n", row["prompt"])[1] for row in rows]

    guess = make_pipeline(CountVectorizer(ngram_range=(1, 2)), LogisticRegression(max_iter=500))
    guess.fit(hypotheses(train["inference"]), [row["label"] for row in train["inference"]])
    right = guess.score(hypotheses(test["inference"]), [row["label"] for row in test["inference"]])
    assert right < 0.40


@pytest.mark.parametrize("name", [name for name in SUITE if name != "acceptability"])
def test_articles_fit_their_nouns_and_no_space_is_doubled(name, train):
    text = "\n".join(f"{row['prompt']} {row['completion']}" for row in train[name])
    assert not re.findall(r"\b[Aa] (?!use|uni|one)[aeiou]\w+", text)
    assert not re.findall(r"\b[Aa]n (?:use|uni|[^aeiouAEIOU\W])\w+", text)
    assert "  " not in text


def test_an_unacceptable_sentence_never_equals_an_acceptable_one(train):
    shown = {label: set() for label in SUITE["acceptability"].choices}
    for row in train["acceptability"]:
        shown[row["label"]].add(row["prompt"])
    assert not shown["acceptable"] & shown["unacceptable"]


def test_the_tasks_are_written_in_several_hundred_words(train):
    words = {n: {w for r in rows for w in r["prompt"].lower().split()} for n, rows in train.items()}
    assert len(set().union(*words.values())) > 2_000
    assert all(len(words[name]) > 300 for name in SUITE if name != "arithmetic")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("sentment", {}, "Did you mean 'sentiment'"),
        ("topic", {"split": "dev"}, "choose 'train' or 'test'"),
        ("topic", {"n": 0}, "choose 1 to"),
        ("topic", {"n": MAX_ROWS["train"] + 1}, "choose 1 to 20000"),
        ("topic", {"output_length": "long"}, "that of word_problems, rewriting can"),
        ("rewriting", {"output_length": "longer"}, "choose 'short', 'normal' or 'long'"),
        ("reading", {"class_weights": {"a": 1}}, "class_weights are for choice tasks"),
        ("topic", {"class_weights": {"sports": 1}}, "Did you mean 'sport'"),
        ("topic", {"class_weights": {"sport": -1}}, "give a number from 0 up"),
        ("topic", {"class_weights": {"sport": 0}}, "give at least one class a weight"),
    ],
)
def test_what_a_task_cannot_give_is_refused_in_one_line(name, options, message):
    arguments = {"split": "train", "n": 5, **options}
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        generate(name, **arguments)
    assert "\n" not in str(caught.value)


def test_a_partition_that_owns_nothing_is_an_error_and_no_endless_loop():
    draw = Draw(np.random.default_rng(0), "train")
    content = next(str(number) for number in range(100) if partition_of(str(number)) == "test")
    with pytest.raises(DataError, match="has nothing for partition 'train'"):
        draw.owned(lambda: content)


@given(st.integers(0, 199))
def test_number_words_add_up_to_their_number(number):
    values = {number_word(n): n for n in (*range(20), *range(20, 100, 10))} | {"one hundred": 100}
    parts = re.split(r" and |-", number_word(number))
    assert sum(values[part] for part in parts) == number


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [("apple", "an apple"), ("useful axe", "a useful axe"), ("red axe", "a red axe")],
)
def test_the_article_follows_the_sound(phrase, expected):
    assert article(phrase) == expected


@pytest.mark.parametrize(
    ("noun", "expected"),
    [("box", "boxes"), ("lily", "lilies"), ("toy", "toys"), ("shelf", "shelves"), ("cat", "cats")],
)
def test_plurals_are_spelled_right(noun, expected):
    assert plural(noun) == expected


def test_the_page_of_the_suite_shows_what_the_package_generates():
    page = runpy.run_path(str(ROOT / "scripts" / "suite_page.py"))["page"]
    assert (ROOT / "docs" / "offline-suite.md").read_text(encoding="utf-8") == page()


def test_the_suite_needs_no_torch():
    folder = ROOT / "src" / "transferlens" / "tasks" / "suite"
    for path in folder.rglob("*.py"):
        names = {
            alias.name if isinstance(node, ast.Import) else node.module
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        }
        assert not {name.split(".")[0] for name in names} & {"torch", "transformers", "peft"}
