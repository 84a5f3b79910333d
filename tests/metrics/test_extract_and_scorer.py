"""Answers are read out of completions, and a task gets the scorer that it asks for."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transferlens.errors import SpecError
from transferlens.metrics import EXTRACTORS, METRICS, get_extractor, get_metric, scorer_for
from transferlens.study import StudySpec
from transferlens.tasks import load_task


@pytest.mark.parametrize(
    ("name", "completion", "answer"),
    [
        ("gsm8k", "2 + 3 = 5\n#### 5", "5"),
        ("gsm8k", "#### 1,234", "1,234"),
        ("gsm8k", "#### $5.00 dollars", "$5.00"),
        ("gsm8k", "####-7", "-7"),
        ("gsm8k", "#### 4\nNo: #### 6", "6"),
        ("gsm8k", "the answer is 5", None),
        ("gsm8k", "#### five", None),
        ("gsm8k", "", None),
        ("last_number", "3 and 4 make 7.", "7"),
        ("last_number", "that is $1,200.50 in all", "$1,200.50"),
        ("last_number", "none", None),
        ("first_line", "\n  Paris \nLyon", "Paris"),
        ("first_line", " \n ", None),
        ("code_block", "Here:\n```python\nx = 1\n```\nDone", "x = 1"),
        ("code_block", "x = 1\n", "x = 1"),
        ("code_block", "```\n\n```", None),
        (None, "  Paris \n", "Paris"),
        (r"regex:answer is (\w+)", "answer is A. No, the answer is B.", "B"),
        (r"regex:\d+", "1 and 22", "22"),
        (r"regex:(a)?b", "ab and b", "a"),
        (r"regex:x", "y", None),
        (r"regex:<a>(.*)</a>", "<a>one\ntwo</a>", "one\ntwo"),
    ],
)
def test_an_extractor_reads_the_answer(name, completion, answer):
    assert get_extractor(name)(completion) == answer


@settings(deadline=None, max_examples=50)
@given(st.text(max_size=60), st.integers(-(10**6), 10**6))
def test_what_stands_before_the_mark_does_not_change_the_answer(text, number):
    assert get_extractor("gsm8k")(f"{text}\n#### {number}") == str(number)


@pytest.mark.parametrize("name", sorted(EXTRACTORS.names()))
@settings(deadline=None, max_examples=50)
@given(text=st.text(max_size=60))
def test_no_extractor_fails_on_any_text_nor_gives_an_empty_answer(name, text):
    answer = get_extractor(name)(text)
    assert answer is None or answer.strip()


def test_unknown_names_are_refused_with_the_nearest_known_one():
    with pytest.raises(SpecError, match=r"unknown extractor 'gsm8'\. Did you mean 'gsm8k'\?"):
        get_extractor("gsm8")
    with pytest.raises(SpecError, match=r"unknown metric 'rouge'\. Did you mean 'rouge_l'\?"):
        get_metric("rouge")
    with pytest.raises(SpecError, match=r"'regex:\(' is not a valid regular expression"):
        get_extractor("regex:(")


def test_every_metric_says_how_its_scores_are_read():
    assert set(METRICS.names()) >= {
        "accuracy", "exact_match", "f1", "numeric_match", "rouge_l", "code_similarity", "code_runs",
    }  # fmt: skip
    for name in METRICS.names():
        metric = get_metric(name, unsafe_code=True)
        assert (metric.name, metric.unit, metric.ceiling) == (name, "fraction", 1.0)
        assert metric.higher_is_better


def scorer(folder, **fields):
    (folder / "test.jsonl").write_text('{"prompt": "Why?", "label": "a"}\n', encoding="utf-8")
    file = folder / "study.yaml"
    lines = "".join(f"    {name}: {value}\n" for name, value in fields.items())
    file.write_text(
        f"sources: [t]\ntargets: [t]\ntasks:\n  t:\n    data: {folder}\n{lines}", encoding="utf-8"
    )
    study = StudySpec.from_yaml(file)
    return scorer_for(load_task(study.targets[0], study, role="targets", index=0))


def test_a_task_gets_its_metric_and_extractor(tmp_path):
    found = scorer(tmp_path, metric="numeric_match", extractor="gsm8k")
    answer = found.extract("so\n#### 1,000")
    assert found.score(answer, "1000.0") == 1
    assert found.score(None, "1000") == 0
    assert scorer(tmp_path, choices="[a, b]").metric.name == "accuracy"
    assert scorer(tmp_path).metric.name == "exact_match"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"metric": "rouge"}, "6: tasks.t.metric: task 't': unknown metric 'rouge'."),
        ({"extractor": "gsm"}, "6: tasks.t.extractor: task 't': unknown extractor 'gsm'."),
        ({"metric": "accuracy"}, "the metric 'accuracy' is for a task that has choices"),
        (
            {"choices": "[a, b]", "metric": "code_similarity", "label": "label"},
            "",
        ),
        ({"metric": "code_runs"}, "runs code that a model wrote; allow it with"),
    ],
)
def test_a_scorer_that_does_not_suit_names_the_line_of_the_study(tmp_path, fields, message):
    if not message:
        # With a metric of written answers the choices only say what the answers are.
        assert scorer(tmp_path, **fields).metric.name == "code_similarity"
        return
    with pytest.raises(SpecError) as caught:
        scorer(tmp_path, **fields)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path}/study.yaml:6: ")
