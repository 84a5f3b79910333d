"""The passport is a card that the hub reads, and says what the numbers say."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import yaml
from huggingface_hub import ModelCard
from typer.testing import CliRunner

from paired_study import planted_study, study_of
from transferlens.cli.app import app
from transferlens.errors import AnalysisError
from transferlens.report.passport import passport
from transferlens.report.passport_card import code_span, model_card, write_card
from transferlens.results import BASE, write_study
from transferlens.transfer import transfer_matrix


def card_of(study, source, **options):
    return ModelCard(model_card(passport(study, source), study, **options))


def kinds(study, source, **options):
    return {cell.target: cell.safety for cell in passport(study, source, **options).cells}


def test_the_hub_reads_every_score_and_gain_as_the_matrix_has_them():
    study = planted_study()
    card = card_of(study, "a", licence="apache-2.0")
    assert card.data.library_name == "peft"
    assert card.data.license == "apache-2.0"
    assert card.data.model_name == "study-a"
    cells = transfer_matrix(study).data.sel(source="a")
    found = {(r.dataset_name, r.metric_type): r for r in card.data.eval_results}
    assert len(found) == 2 * len(study.targets)
    for target in "abcd":
        cell = cells.sel(target=target)
        assert found[target, "score"].metric_value == pytest.approx(float(cell["score"]), abs=1e-6)
        gain = found[target, "gain"]
        assert gain.metric_value == pytest.approx(float(cell["gain"]), abs=1e-6)
        assert (
            f"[{float(cell['gain_low']):+.4f}, {float(cell['gain_high']):+.4f}]" in gain.metric_name
        )


def test_planted_help_and_harm_are_named_and_the_rest_is_safe():
    study = planted_study()
    assert kinds(study, "a") == {"a": "own", "b": "helps", "c": "safe", "d": "safe"}
    assert kinds(study, "c") == {"a": "safe", "b": "safe", "c": "own", "d": "harms"}
    text = card_of(study, "c").text
    assert "- **Safe**: `a`, `b`, `c`.\n- **Not safe**: `d`.\n- **Not known**: none." in text
    assert "- **Harms significantly**: `d` -" in text


def test_no_harm_that_was_seen_is_not_safety_where_none_could_be_seen():
    base = np.tile([1.0, 0.0], 6)
    study = study_of({(BASE, "b", 0): base, ("a", "b", 0): base})
    # Twelve equal answers do not exclude a loss of five points, but one of forty.
    assert kinds(study, "a") == {"b": "unknown"}
    assert kinds(study, "a", margin=40.0) == {"b": "safe"}
    with pytest.raises(AnalysisError, match="margin=0 must be above 0"):
        passport(study, "a", margin=0)


def test_a_base_with_nothing_to_lose_shows_no_safety():
    wrong = np.zeros(400)
    study = study_of({(BASE, "b", 0): wrong, ("a", "b", 0): wrong})
    assert kinds(study, "a") == {"b": "unknown"}
    assert "no harm can show" in card_of(study, "a").text


def test_a_source_that_is_not_there_is_refused_with_its_neighbour():
    with pytest.raises(AnalysisError, match=r"no source 'bb'\. Did you mean 'b'\?"):
        passport(planted_study(), "bb")


NASTY = "x|y`</td><script>alert(1)</script>[a](javascript:b)\n---\n# {{7*7}} \u202e*b*"


def test_text_from_data_stays_text_in_yaml_and_markdown():
    rng = np.random.default_rng(1)
    base = (rng.random(50) < 0.5).astype(float)
    study = study_of({(BASE, NASTY, 0): base, ("s", NASTY, 0): 1.0 - base})
    card = card_of(study, "s")
    whole = model_card(passport(study, "s"), study)
    assert whole.count("\n---\n") == 1
    assert card.data.eval_results[0].dataset_name.startswith("x|y`</td><script>")
    lines = [line for line in card.text.splitlines() if "<script>" in line]
    assert lines
    for line in lines:
        # A code span with a longer fence, and no cell of a table more than its head has.
        assert "``x\\|y`</td><script>" in line
    table = [line for line in card.text.splitlines() if line.startswith("| ")]
    assert len({line.replace("\\|", "").count("|") for line in table[:2]}) == 1
    assert "\u202e" not in whole


@pytest.mark.parametrize("text", ["a", "`", "a``b`", "|", "", " ", "\n# x", "```"])
def test_a_code_span_holds_its_text_and_nothing_ends_it_early(text):
    span = code_span(text)
    fence = len(span) - len(span.lstrip("`"))
    assert span.startswith("`" * fence)
    assert span.endswith("`" * fence)
    inside = span[fence:-fence]
    assert "`" * fence not in inside
    assert "\n" not in span
    assert inside.replace("\\|", "|").strip() == " ".join(text.split())


def test_a_local_path_is_no_base_of_the_hub_and_a_known_one_is(tmp_path):
    plain = planted_study()
    for base, named in (
        ("meta-llama/Llama-3.2-3B", "meta-llama/Llama-3.2-3B"),
        (str(tmp_path), None),
        ("../other", None),
        ("embedded", None),
    ):
        study = type(plain)(
            sources=plain.sources, targets=plain.targets, origin={"base": base}, _rows=plain._rows
        )
        assert card_of(study, "a").data.base_model == named


def test_a_folder_that_is_named_like_a_model_of_the_hub_is_none(tmp_path):
    study = write_study(planted_study(), tmp_path / "study")
    for model, named in (("/models/mine", None), ("models/mine", "models/mine")):
        plan = replace(study.plan, base={"model": model})
        made = replace(study, origin={"base": "models/mine"}, plan=plan)
        assert card_of(made, "a").data.base_model == named


def test_the_command_writes_the_card_where_it_is_told_and_nowhere_else(tmp_path):
    study = write_study(planted_study(), tmp_path / "study")
    before = sorted(tmp_path.rglob("*"))
    result = CliRunner().invoke(app, ["card", str(study.path), "a"])
    assert result.exit_code == 0
    assert sorted(tmp_path.rglob("*")) == before
    (tmp_path / "out").mkdir()
    again = CliRunner().invoke(app, ["card", str(study.path), "a", "-o", str(tmp_path / "out")])
    assert again.output.strip() == str(tmp_path / "out" / "README.md")
    assert (tmp_path / "out" / "README.md").read_text(encoding="utf-8") == result.output
    front = yaml.safe_load(result.output.split("---\n")[1])
    assert front["model-index"][0]["name"] == "study-a"
    assert write_card("x", tmp_path / "new" / "card.md").read_text(encoding="utf-8") == "x"
    wrong = CliRunner().invoke(app, ["card", str(study.path), "../a"])
    assert wrong.exit_code == 2
    assert wrong.output.startswith("Error: the study has no source '../a'")


def test_habits_say_how_often_the_commonest_label_is_given():
    rng = np.random.default_rng(2)
    base = (rng.random(40) < 0.5).astype(float)
    found = passport(study_of({(BASE, "b", 0): base, ("a", "b", 0): base}), "a")
    (habit,) = found.habits
    assert (habit.kind, habit.label, habit.adapter, habit.base) == ("label", "a", 1.0, 1.0)
    assert habit.gold == 1.0
    assert found.lengths is None
    assert not math.isnan(found.cells[0].gain)
