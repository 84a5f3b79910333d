"""A user's own rows become prompts and answers, and each mistake names its line and its cure."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transferlens.errors import DataError, SpecError
from transferlens.study import StudySpec
from transferlens.tasks import content_hash, count_leaked, load_task

ROWS = [{"text": f"row {i}", "label": i % 2, "mood": ["bad", "good"][i % 2]} for i in range(6)]


def study(folder, rows=ROWS, fields="", split="test"):
    """Write the rows and a study file; its task t begins in line 4."""
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / f"{split}.jsonl").write_text(lines, encoding="utf-8")
    body = "".join(f"    {line}\n" for line in fields.splitlines())
    file = folder / "study.yaml"
    file.write_text(
        f"sources: [t]\ntargets: [t]\ntasks:\n  t:\n    data: .\n{body}", encoding="utf-8"
    )
    return StudySpec.from_yaml(file)


def task(folder, rows=ROWS, fields="", split="test"):
    spec = study(folder, rows, fields, split)
    return load_task(spec.targets[0], spec, role="targets", index=0)


def examples(folder, rows=ROWS, fields="", limit=None):
    return task(folder, rows, fields).test(limit, seed=0)


PROMPT = 'prompt: "{{ text }}"\n'
CHOICES = PROMPT + 'choices: ["no", "yes"]\n'


def refusal(folder, rows=ROWS, fields=CHOICES):
    with pytest.raises((DataError, SpecError)) as caught:
        examples(folder, rows, fields)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{folder}/study.yaml:")
    return message.removeprefix(f"{folder}/study.yaml:").replace(f"{folder}/", "")


# How rows become examples


def test_a_number_is_the_position_of_a_choice(tmp_path):
    found = examples(tmp_path, fields=CHOICES)
    assert [(e.prompt, e.gold, e.completion) for e in found[:2]] == [
        ("row 0", "no", "no"), ("row 1", "yes", "yes"),
    ]  # fmt: skip
    assert {e.choices for e in found} == {("no", "yes")}


@pytest.mark.parametrize(
    ("fields", "golds"),
    [
        ('label: mood\nchoices: ["bad", "good"]\n', ["bad", "good"]),
        ('label: mood\nchoices: ["-", "+"]\nlabels: {bad: "-", good: "+"}\n', ["-", "+"]),
        ('choices: ["-", "+"]\nlabels: {0: "+", 1: "-"}\n', ["+", "-"]),
        ('choices: ["-", "+"]\nlabel: mood == "good"\n', ["-", "+"]),
        ('choices: ["-", "+"]\nlabel: (label | string) | int\n', ["-", "+"]),
        ('choices: ["-", "+"]\nlabel: label | float\n', ["-", "+"]),
        ('choices: ["-", "+"]\nlabel: label | float\nlabels: {0: "+", 1: "-"}\n', ["+", "-"]),
        ('choices: "[mood, text]"\nlabel: "0"\n', ["bad", "good"]),
        ('choices: "[mood, text]"\nlabel: mood\n', ["bad", "good"]),
    ],
)
def test_labels_may_be_words_numbers_truth_or_positions(tmp_path, fields, golds):
    assert [e.gold for e in examples(tmp_path, fields=PROMPT + fields)[:2]] == golds


def test_columns_may_have_other_names_in_the_data(tmp_path):
    rows = [{"Review Text": "fine", "Is it?": 1}, {"Review Text": "dull", "Is it?": 0}]
    fields = CHOICES + 'columns: {text: "Review Text", label: "Is it?"}\n'
    assert [(e.prompt, e.gold) for e in examples(tmp_path, rows, fields)] == [
        ("fine", "yes"), ("dull", "no"),
    ]  # fmt: skip


def test_a_folder_alone_is_a_task_with_the_usual_columns(tmp_path):
    rows = [{"prompt": "2 + 2 =", "completion": "It is 4", "label": 4}]
    (example,) = examples(tmp_path, rows)
    assert (example.prompt, example.completion, example.gold) == ("2 + 2 =", "It is 4", "4")
    assert example.choices is None
    rows = [{"prompt": "Sky?", "choices": ["red", "blue"], "label": "blue"}]
    (example,) = examples(tmp_path, rows)
    assert (example.gold, example.choices) == ("blue", ("red", "blue"))
    assert task(tmp_path, rows).metric == "accuracy"


def test_a_written_answer_is_the_label_or_the_completion(tmp_path):
    fields = PROMPT + 'completion: "So: {{ mood }}"\nlabel: mood\nmetric: f1\n'
    first = examples(tmp_path, fields=fields)[0]
    assert (first.completion, first.gold, first.choices) == ("So: bad", "bad", None)


def test_a_limit_draws_the_same_rows_and_a_smaller_one_draws_some_of_them(tmp_path):
    loaded = task(tmp_path, [{"text": str(i), "label": 0} for i in range(50)], CHOICES)
    ten, twenty = loaded.test(10, seed=1), loaded.test(20, seed=1)
    assert set(ten) < set(twenty)
    assert loaded.test(10, seed=1) == ten
    assert loaded.test(10, seed=2) != ten
    assert len(loaded.test(99, seed=1)) == 50


def test_leaks_and_content_are_told_by_hashes(tmp_path):
    found = examples(tmp_path, fields=CHOICES)
    assert count_leaked(found[:4], found[2:]) == 2
    assert content_hash(found) == content_hash(list(found))
    assert content_hash(found) != content_hash(found[::-1])
    assert len({e.example_hash for e in found}) == len(found)


TEXT = st.text(max_size=5)


@settings(deadline=None, max_examples=50)
@given(one=st.lists(TEXT, min_size=3, max_size=3), two=st.lists(TEXT, min_size=3, max_size=3))
def test_examples_hash_alike_only_where_they_are_alike(one, two):
    from transferlens.tasks import Example

    def make(parts):
        return Example(prompt=parts[0], completion="", gold=parts[1], choices=(parts[2], "x"))

    assert (make(one).example_hash == make(two).example_hash) == (one == two)


# Mistakes: each is one line with the task's line in the study, the row, and what to do


@pytest.mark.parametrize(
    ("rows", "fields", "message"),
    [
        ([], CHOICES, "4: tasks.t: task 't': test.jsonl is empty; a task needs at least one row"),
        (
            [{"text": "a", "label": 0}, {"text": "b", "label": 2}], CHOICES,
            ("4: tasks.t: task 't': test.jsonl:2: the label 2 is no position among 2 choices "
            "(0 is the first)"),
        ),
        (
            [{"text": "a", "label": "maybe"}], CHOICES,
            ("4: tasks.t: task 't': test.jsonl:1: the label 'maybe' is not among the choices (no, "
            "yes); translate it with the field labels, or add it to the choices"),
        ),
        (
            [{"text": "a", "label": "1"}], CHOICES,
            ("the label '1' is not among the choices (no, yes); if 1 is a position, write "
            "`label: column | int`"),
        ),
        (
            [{"text": "a", "label": 1}], PROMPT + 'choices: ["1", "2"]\n',
            ("the label 1 could be a position or a choice; write `label: column | string`, or say "
            "what it means in labels"),
        ),
        ([{"text": "a", "label": None}], CHOICES, "test.jsonl:1: the label is missing (null)"),
        (
            [{"text": "a"}], CHOICES,
            "test.jsonl:1: there is no label; name its column or expression in the field label",
        ),
        (
            ROWS, 'prompt: "{{ txt }}"\nchoices: ["no", "yes"]\n',
            ("test.jsonl:1: the prompt uses the column 'txt'; the data has: text, label, mood. "
            "Did you mean 'text'?"),
        ),
        (
            ROWS, CHOICES + "columns: {text: txet}\n",
            ("columns.text asks for the column 'txet'; the data has: text, label, mood. "
            "Did you mean 'text'?"),
        ),
        (ROWS, CHOICES + "label: lable\n", "the label uses the column 'lable'"),
        (
            [ROWS[0], ROWS[1], ROWS[0]], CHOICES,
            ("4: tasks.t: task 't': test.jsonl:3: the same example as test.jsonl:1; remove one, or "
            "set `duplicates: drop` in the task"),
        ),
        ([{"text": " ", "label": 0}], CHOICES, "test.jsonl:1: the prompt is empty"),
        (ROWS, PROMPT + 'choices: ["no"]\n', "at least two choices are needed"),
        (ROWS, PROMPT + 'choices: ["no", " "]\n', "none of them empty"),
        (ROWS, PROMPT + "choices: text\n", "choices must be a list, not 'row 0'"),
        (
            [{"text": "a"}], PROMPT,
            "there is no answer: name its column in the field label or completion",
        ),
        ([{"text": "a", "label": " "}], PROMPT, "the answer (label) is empty"),
        (ROWS, 'prompt: "{{ text"\n', "4: tasks.t: task 't': the prompt is not a valid template"),
        (
            ROWS, 'prompt: "{% for i in range(10**9) %}{% endfor %}"\n',
            "test.jsonl:1: the prompt cannot be rendered: range is longer than 100000",
        ),
        (
            ROWS, 'prompt: "{{ text.__class__ }}"\n',
            "access to attribute '__class__' of 'str' object is unsafe",
        ),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_that_says_where_and_what_to_do(tmp_path, rows, fields, message):
    assert message in refusal(tmp_path, rows, fields)


def test_a_missing_split_names_the_field_and_the_files_that_are_there(tmp_path):
    spec = study(tmp_path, fields=CHOICES)
    loaded = load_task(spec.sources[0], spec, role="sources", index=0)
    with pytest.raises(DataError) as caught:
        loaded.train(None, seed=0)
    assert str(caught.value) == (
        f"{tmp_path}/study.yaml:5: tasks.t.data: task 't': {tmp_path}: has no train.jsonl or "
        "train.csv or train.parquet; it holds study.yaml, test.jsonl"
    )


def test_a_bad_row_is_reported_even_when_it_is_not_drawn(tmp_path):
    rows = [*({"text": str(i), "label": 0} for i in range(50)), {"text": "x", "label": 7}]
    loaded = task(tmp_path, rows, CHOICES)
    for seed in range(3):
        with pytest.raises(DataError, match=r"test\.jsonl:51: the label 7"):
            loaded.test(1, seed=seed)


def test_duplicates_can_be_dropped_and_the_first_stays(tmp_path):
    rows = [ROWS[0], ROWS[1], ROWS[0], ROWS[2]]
    found = examples(tmp_path, rows, CHOICES + "duplicates: drop\n")
    assert [e.prompt for e in found] == ["row 0", "row 1", "row 2"]


def test_the_same_prompt_with_another_answer_is_no_duplicate(tmp_path):
    rows = [{"text": "a", "label": 0}, {"text": "a", "label": 1}]
    assert len(examples(tmp_path, rows, CHOICES)) == 2


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sentimnt", "study.yaml:1: targets.0: unknown task 'sentimnt'. Did you mean 'sentiment'?"),
        ("./nowhere", "is no folder in"),
    ],
)
def test_an_unknown_task_names_its_line_and_the_nearest(tmp_path, name, message):
    file = tmp_path / "study.yaml"
    file.write_text(f"targets: [{name}]\nsources: [sentiment]\n", encoding="utf-8")
    spec = StudySpec.from_yaml(file)
    with pytest.raises(SpecError) as caught:
        load_task(spec.targets[0], spec, role="targets", index=0)
    assert message in str(caught.value)
