"""A balanced draw has equally many rows of each choice, and says why where it cannot."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from transferlens.errors import DataError
from transferlens.study import StudySpec
from transferlens.tasks import load_task


def study(folder, labels, **task):
    rows = [{"text": f"row {i}", "label": label} for i, label in enumerate(labels)]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "train.jsonl").write_text(lines, encoding="utf-8")
    fields = {"data": str(folder), "prompt": "{{ text }}", "choices": ["no", "yes"], **task}
    ref = {"task": "t", "name": "twin", "balanced": True}
    return StudySpec.from_dict({"tasks": {"t": fields}, "sources": [ref], "targets": ["t"]})


def drawn(spec, limit, seed=0):
    return load_task(spec.sources[0], spec, role="sources", index=0).train(limit, seed=seed)


@pytest.mark.parametrize(("limit", "each"), [(None, 7), (10, 5), (9, 4), (2, 1), (100, 7)])
def test_each_choice_is_drawn_equally_often(tmp_path, limit, each):
    examples = drawn(study(tmp_path, ["yes"] * 40 + ["no"] * 7), limit)
    assert Counter(example.gold for example in examples) == {"yes": each, "no": each}


def test_a_smaller_limit_gives_a_part_of_a_larger_one_in_the_order_of_the_rows(tmp_path):
    spec = study(tmp_path, ["yes", "yes", "no"] * 20)
    small, large = drawn(spec, 10), drawn(spec, 30)
    assert set(small) <= set(large)
    numbers = [int(example.prompt.split()[1]) for example in large]
    assert numbers == sorted(numbers)


def test_the_same_seed_gives_the_same_rows_and_another_one_others(tmp_path):
    spec = study(tmp_path, ["yes", "no"] * 30)
    assert drawn(spec, 10) == drawn(spec, 10)
    assert drawn(spec, 10) != drawn(spec, 10, seed=1)


def test_a_choice_that_is_never_right_is_named(tmp_path):
    with pytest.raises(DataError, match="2 choices: 'no' is never right"):
        drawn(study(tmp_path, ["yes"] * 5), None)


def test_a_limit_below_the_number_of_choices_is_refused(tmp_path):
    with pytest.raises(DataError, match="2 choices: limit is 1"):
        drawn(study(tmp_path, ["yes", "no"]), 1)


def test_written_answers_have_no_classes_to_balance(tmp_path):
    with pytest.raises(DataError, match="balanced is for tasks with choices"):
        drawn(study(tmp_path, ["a", "b"], choices=None), None)
