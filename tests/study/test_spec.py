"""A study file is read exactly, and each mistake in it is one line that says where."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transferlens.errors import SpecError
from transferlens.study import BASE, StudySpec

SMALL = """\
name: small
sources:
  - sentiment
  - task: topic
    name: topics
    limit: 20
targets: [sentiment, topic]
method:
  rank: 4
"""


def written(folder: Path, text: str) -> Path:
    file = folder / "study.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def refusal(folder: Path, text: str, overrides: tuple[str, ...] = ()) -> str:
    with pytest.raises(SpecError) as caught:
        StudySpec.from_yaml(written(folder, text), overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_bare_name_stands_for_a_task_and_a_model(tmp_path):
    spec = StudySpec.from_yaml(written(tmp_path, SMALL + "base: some/model\n"))
    assert spec.base.model == "some/model"
    assert [(ref.task, ref.name, ref.limit) for ref in spec.sources] == [
        ("sentiment", "sentiment", None),
        ("topic", "topics", 20),
    ]


def test_a_study_of_names_only_has_the_documented_defaults():
    spec = StudySpec.from_dict({"sources": ["a"], "targets": ["a"]})
    assert spec.base.model == "embedded"
    assert spec.seeds == (0,)
    assert spec.method.target_modules == "all-linear"
    assert not spec.base.trust_remote_code


def test_relative_paths_start_at_the_folder_of_the_file(tmp_path):
    assert StudySpec.from_yaml(written(tmp_path, SMALL)).root == tmp_path


def test_the_name_of_a_task_given_as_a_path_is_its_last_part():
    spec = StudySpec.from_dict({"sources": ["data/tickets"], "targets": ["./other"]})
    assert spec.sources[0].name == "tickets"
    assert spec.targets[0].name == "other"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (SMALL + "metod: {}\n", ["study.yaml:10", "'metod'", "Did you mean 'method'?"]),
        (SMALL + "  rnk: 4\n", ["study.yaml:10: method.rnk", "Did you mean 'rank'?"]),
        (SMALL.replace("rank: 4", "rank: 0"), ["study.yaml:9: method.rank", "not 0"]),
        (SMALL.replace("rank: 4", "rank: many"), ["study.yaml:9: method.rank", "'many'"]),
        (SMALL.replace("targets: [sentiment, topic]\n", ""), ["'targets' is missing"]),
        (SMALL.replace("[sentiment, topic]", "[]"), ["targets is empty"]),
        (SMALL.replace("name: topics", "name: sentiment"), ["sources", "'sentiment' twice"]),
        (SMALL.replace("name: topics", f"name: {BASE}"), ["study.yaml:5", "untuned base model"]),
        (SMALL.replace("name: topics", "name: ../up"), ["study.yaml:5", "cannot be a name"]),
        (SMALL + "seeds: []\n", ["seeds must be at least one"]),
        (SMALL + "seeds: [1, 1]\n", ["seeds must be at least one number, each only once"]),
        (SMALL + "name: again\n", ["study.yaml:10", "'name' stands twice"]),
        (SMALL + "seeds: [1, 2\n", ["study.yaml:", "not valid YAML"]),
        ("- a\n- b\n", ["a study file is a mapping"]),
        (SMALL + "tasks: {t: {data: {}}}\n", ["study.yaml:10: tasks.t.data", "exactly one of"]),
        (SMALL + "tasks: {t: {data: {path: x, subset: y}}}\n", ["subset and revision belong"]),
        (SMALL + "tasks: {t: {data: {path: x, options: {a: 1}}}}\n", ["options belong to suite"]),
    ],
)
def test_a_mistake_is_one_line_with_file_line_and_field(tmp_path, text, parts):
    message = refusal(tmp_path, text)
    for part in parts:
        assert part in message


def test_several_mistakes_are_counted(tmp_path):
    assert "(and 1 more)" in refusal(tmp_path, SMALL + "  rnk: 4\nmetod: {}\n")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SpecError, match=r"absent\.yaml: cannot read the study file"):
        StudySpec.from_yaml(tmp_path / "absent.yaml")


def test_a_file_that_is_not_text_is_refused(tmp_path):
    file = tmp_path / "study.yaml"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecError, match="cannot read the study file"):
        StudySpec.from_yaml(file)


def test_overrides_change_nested_fields_lists_and_shorthands(tmp_path):
    spec = StudySpec.from_yaml(
        written(tmp_path, SMALL + "base: embedded\n"),
        ["method.rank=8", "seeds=[3, 4]", "sources.1.limit=5", "base.revision=main"],
    )
    assert spec.method.rank == 8
    assert spec.seeds == (3, 4)
    assert spec.sources[1].limit == 5
    assert spec.base.revision == "main"


@pytest.mark.parametrize(
    ("override", "part"),
    [
        ("method.rank", "an override is written key=value"),
        ("=3", "an override is written key=value"),
        ("sources.7.limit=1", "no position in a list of 2"),
        ("sources.first.limit=1", "no position in a list of 2"),
        ("method.rnk=3", "Did you mean 'rank'?"),
        ("seeds=[1", "not valid YAML"),
    ],
)
def test_a_wrong_override_is_refused(tmp_path, override, part):
    assert part in refusal(tmp_path, SMALL, (override,))


def test_an_override_leaves_the_file_and_other_readings_alone(tmp_path):
    file = written(tmp_path, SMALL)
    StudySpec.from_yaml(file, ["method.rank=8"])
    assert StudySpec.from_yaml(file).method.rank == 4


def test_layout_comments_and_order_of_fields_do_not_change_the_hash(tmp_path):
    other = (
        "# a comment\nmethod: {rank: 4}\ntargets:\n- sentiment\n- topic\n"
        "sources: [sentiment, {name: topics, limit: 20, task: topic}]\nname: small\n"
    )
    first = StudySpec.from_yaml(written(tmp_path, SMALL)).content_hash
    assert StudySpec.from_yaml(written(tmp_path, other)).content_hash == first


@given(rank=st.integers(1, 64), seeds=st.sets(st.integers(0, 9), min_size=1))
def test_a_study_survives_the_way_to_plain_values_and_back(rank, seeds):
    spec = StudySpec.from_dict(
        {"sources": ["a"], "targets": ["b"], "method": {"rank": rank}, "seeds": sorted(seeds)}
    )
    again = StudySpec.from_dict(spec.to_dict())
    assert again.to_dict() == spec.to_dict()
    assert again.content_hash == spec.content_hash


@given(rank=st.integers(2, 64))
def test_another_rank_is_another_study(rank):
    value = {"sources": ["a"], "targets": ["b"]}
    one = StudySpec.from_dict({**value, "method": {"rank": 1}})
    assert StudySpec.from_dict({**value, "method": {"rank": rank}}).content_hash != one.content_hash


def test_labels_may_be_written_as_numbers(tmp_path):
    text = SMALL + 'tasks: {t: {data: here, labels: {0: "no", 1: "yes"}}}\n'
    spec = StudySpec.from_yaml(written(tmp_path, text))
    assert spec.tasks["t"].labels == {"0": "no", "1": "yes"}
    assert spec.tasks["t"].data.path == "here"


def test_where_names_the_line_of_a_field_and_the_nearest_known_one(tmp_path):
    spec = StudySpec.from_yaml(written(tmp_path, SMALL))
    assert spec.where("method", "rank").endswith("study.yaml:9: method.rank")
    assert spec.where("method", "dropout").endswith("study.yaml:8: method.dropout")
    assert StudySpec.from_dict(spec.to_dict()).where("method", "rank") == "method.rank"
