"""A method has its own fields, and several bases or methods make several studies."""

from __future__ import annotations

import pytest

from transferlens.errors import ResultsError, SpecError
from transferlens.results import is_grid, open_grid, open_study, write_grid
from transferlens.study import METHODS, GridSpec, MethodSpec, StudySpec, read_study

GRID = """\
name: two
sources: [sentiment, topic]
targets: [sentiment]
bases: [embedded, models/other]
methods:
  low: {name: lora, rank: 4}
  all:
    name: full
seeds: [0, 1]
"""


def refusal(tmp_path, text, *overrides):
    file = tmp_path / "study.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        read_study(file, overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(str(tmp_path))


def test_fields_of_other_methods_are_in_no_lora_study_and_so_in_no_hash():
    old = {
        "name": "lora", "rank": 16, "alpha": 32, "dropout": 0.0, "target_modules": "all-linear",
        "learning_rate": 2e-4, "schedule": "linear", "warmup_ratio": 0.05, "epochs": 1.0,
        "steps": None, "batch_tokens": 4096, "max_length": None, "max_grad_norm": 1.0,
        "weight_decay": 0.0,
    }  # fmt: skip
    assert MethodSpec().model_dump(mode="json") == old
    assert "rank" not in MethodSpec(name="full").model_dump(mode="json")


@pytest.mark.parametrize("name", METHODS)
def test_a_stored_method_is_read_back_as_it_was(name):
    method = MethodSpec(name=name)
    assert MethodSpec(**method.model_dump(mode="json")) == method


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("full", "rank"),
        ("bitfit", "dropout"),
        ("ia3", "target_modules"),
        ("lora", "virtual_tokens"),
    ],
)
def test_a_field_that_the_method_does_not_use_is_refused_with_its_line(tmp_path, name, field):
    value = {"target_modules": "[q_proj]", "dropout": "0.1"}.get(field, "4")
    text = f"sources: [topic]\ntargets: [topic]\nmethod:\n  name: {name}\n  {field}: {value}\n"
    message = refusal(tmp_path, text)
    assert message.startswith(f"/study.yaml:5: method.{field}: the method {name} has no {field} (")
    assert message.endswith("): remove it")


def test_an_unknown_method_is_one_error_with_the_known_ones(tmp_path):
    text = "sources: [topic]\ntargets: [topic]\nmethod: {name: lorra}\n"
    assert refusal(tmp_path, text).endswith("'full' or 'bitfit', not 'lorra'")


def test_each_base_and_method_is_an_ordinary_study(tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text(GRID, encoding="utf-8")
    grid = read_study(file)
    assert isinstance(grid, GridSpec)
    assert list(grid.variants) == ["embedded-low", "embedded-all", "other-low", "other-all"]
    alone = GRID.replace("bases: [embedded, models/other]", "base: models/other")
    alone = alone[: alone.index("methods:")] + "method: {name: full}\nseeds: [0, 1]\n"
    (tmp_path / "alone.yaml").write_text(alone.replace("two", "two-other-all"), encoding="utf-8")
    other = StudySpec.from_yaml(tmp_path / "alone.yaml")
    assert grid.variants["other-all"].to_dict() == other.to_dict()
    assert grid.variants["other-all"].content_hash == other.content_hash


def test_methods_alone_give_their_names():
    value = {"sources": ["topic"], "targets": ["topic"], "methods": ["lora", "ia3"]}
    grid = GridSpec.from_dict(value)
    assert {name: spec.method.name for name, spec in grid.variants.items()} == {
        "lora": "lora",
        "ia3": "ia3",
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GRID + "base: embedded\n", ":4: bases: base and bases are both given; remove one of them"),
        (GRID + "method: {rank: 2}\n", ":5: methods: method and methods are both given;"),
        (GRID.replace("name: full", "rnk: 2"), ":8: method.rnk: unknown field 'rnk'."),
        (GRID.replace("[embedded, models/other]", "[]"), ":4: bases: give a list, or a mapping"),
        (GRID.replace("models/other", "x/embedded"), ":4: bases.1: two of bases are called"),
        (GRID.replace("  all:", "  a/b:"), ":7: methods.a/b: 'a/b' cannot be a name"),
    ],
)
def test_mistakes_in_a_grid_are_one_line_with_their_place(tmp_path, text, message):
    assert refusal(tmp_path, text).startswith(f"/study.yaml{message}")


def test_overrides_reach_into_a_variant(tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text(GRID, encoding="utf-8")
    grid = GridSpec.from_yaml(file, ["methods.low.rank=2", "seeds=[5]"])
    assert grid.variants["embedded-low"].method.rank == 2
    assert {spec.seeds for spec in grid.variants.values()} == {(5,)}
    with pytest.raises(SpecError, match="bases make a grid of studies"):
        StudySpec.from_yaml(file)


def test_a_folder_of_studies_names_them_where_one_is_wanted(tmp_path):
    grid = write_grid(tmp_path / "out", name="two", variants=["a", "b"])
    assert is_grid(grid.path)
    assert dict(open_grid(grid.path).variants) == {
        "a": tmp_path / "out" / "a",
        "b": tmp_path / "out" / "b",
    }
    with pytest.raises(ResultsError, match=r"is a grid of studies; give one of them: \S+/a, \S+/b"):
        open_study(grid.path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    with pytest.raises(ResultsError, match="holds other files"):
        write_grid(tmp_path / "full", name="two", variants=["a"])
