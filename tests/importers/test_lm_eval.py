"""What lm-evaluation-harness writes is imported as it is, and never quietly as something else.

The harness itself runs, once, on a tiny real model and LoRA adapters of it (`harness`). The other
tests change copies of what it wrote, so that they need no model.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from transferlens.errors import DataError
from transferlens.importers import import_lm_eval, remarks_of
from transferlens.results import open_study, write_study
from transferlens.transfer import transfer_matrix

pytestmark = pytest.mark.slow

ACC = {"stories_choice": "acc"}
BOTH = ("stories_choice", "stories_write")


@pytest.fixture(scope="module")
def harness(shared, tmp_path_factory):
    """Return the folder of results, and what the harness said while it wrote them."""
    output = tmp_path_factory.mktemp("harness")
    script = Path(__file__).with_name("write_harness_results.py")
    model = shared / "models" / "stories260K"
    result = subprocess.run(
        [sys.executable, script, model, output], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return output, json.loads(result.stdout.splitlines()[-1])


@pytest.fixture
def copy(harness, tmp_path):
    return Path(shutil.copytree(harness[0] / "plain", tmp_path / "results"))


def one(folder, pattern):
    return min(folder.rglob(pattern))


@pytest.mark.parametrize("metric", ["acc", "acc_norm"])
def test_scores_are_exactly_those_that_the_harness_reports(harness, metric):
    folder, said = harness
    study = import_lm_eval(
        folder / "plain", tasks=BOTH, metric={"stories_choice": metric}, filter="first"
    )
    scores = study.scores
    assert scores["source"].values.tolist() == ["cats", "dogs"]
    for task, key in (("stories_choice", f"{metric},none"), ("stories_write", "exact_match,first")):
        own = scores.sel(target=task)
        assert own["base_score"].values.tolist() == [said["base"][task][key]] * 2
        assert own["score"].sel(source="cats", seed=0) == said["cats"][task][key]
        assert own["score"].sel(source="dogs", seed=1) == said["dogs_seed1"][task][key]
        assert own["base_n_scored"].values.tolist() == [10, 10]
    # Were all the same, the comparison would show nothing.
    found = {said[name]["stories_choice"][f"{metric},none"] for name in ("base", "cats")}
    assert len(found) == 2


def test_the_predicted_choice_is_the_one_that_the_harness_scored(harness):
    study = import_lm_eval(harness[0] / "plain", tasks=["stories_choice"], metric="acc")
    rows = study.predictions.collect()
    right = (rows["prediction"] == rows["gold"]).cast(pl.Float64)
    assert right.to_list() == rows["score"].to_list()
    best = rows["choice_logprobs"].list.arg_max()
    texts = ["a red ball", "a little dog", "a big tree"]
    assert [texts[i] for i in best] == rows["prediction"].to_list()
    assert {len(x) for x in rows["choice_logprobs"]} == {3}


def test_norm_chooses_by_log_likelihood_per_character(harness):
    study = import_lm_eval(harness[0] / "plain", tasks=["stories_choice"], metric="acc_norm")
    rows = study.predictions.collect()
    right = (rows["prediction"] == rows["gold"]).cast(pl.Float64)
    assert right.to_list() == rows["score"].to_list()


def test_a_written_answer_is_kept_whole_and_as_the_filter_read_it(harness):
    study = import_lm_eval(harness[0] / "plain", tasks=["stories_write"], filter="first")
    rows = study.predictions.collect()
    assert rows["completion"].null_count() == 0
    assert (
        rows["completion"].str.extract(r"(\w+)").fill_null("[invalid]") == rows["prediction"]
    ).all()


def test_the_study_survives_its_folder_and_has_evidence(harness, tmp_path):
    study = import_lm_eval(harness[0] / "plain", tasks=BOTH, metric=ACC, filter="none")
    write_study(study, tmp_path / "study")
    again = open_study(tmp_path / "study")
    np.testing.assert_array_equal(again.scores["score"], study.scores["score"])
    assert remarks_of(again) == remarks_of(study)
    matrix = transfer_matrix(again).to_xarray()
    cell = matrix.sel(source="cats", target="stories_choice")
    both = again.scores.sel(target="stories_choice", seed=0)
    assert cell["gain"] == pytest.approx(
        float(both["score"].sel(source="cats") - both["base_score"])
    )


def test_examples_pair_by_their_hash_however_the_file_is_ordered_and_numbered(copy):
    before = import_lm_eval(copy, tasks=["stories_choice"], metric="acc").examples("stories_choice")
    file = one(copy, "*cats/samples_stories_choice*")
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    for number, row in enumerate(reversed(rows)):
        row["doc_id"] = number
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    after = import_lm_eval(copy, tasks=["stories_choice"], metric="acc").examples("stories_choice")
    np.testing.assert_array_equal(before["score"], after["score"])
    np.testing.assert_array_equal(before["example_hash"], after["example_hash"])


def test_other_prompts_are_refused_and_the_task_is_named(harness):
    folder, _ = harness
    with pytest.raises(DataError, match=r"task 'stories_choice': base and shots .*10 of 10"):
        import_lm_eval(folder / "plain", folder / "shots", tasks=["stories_choice"], metric="acc")


def test_open_choices_are_asked_for_all_at_once(harness):
    with pytest.raises(DataError, match="choose one metric") as error:
        import_lm_eval(harness[0] / "plain")
    assert "stories_choice: acc (filter none), acc_norm (filter none)" in str(error.value)
    assert "exact_match (filter first)" in str(error.value)


def test_a_metric_that_is_no_mean_over_examples_is_refused_but_its_scores_can_be_had(harness):
    folder, said = harness
    with pytest.raises(DataError, match="bits_per_byte is no number per example"):
        import_lm_eval(folder / "plain", tasks=["stories_rolling"])
    study = import_lm_eval(folder / "plain", tasks=["stories_rolling"], scores_only=True)
    found = study.scores.sel(target="stories_rolling")
    assert (
        found["score"].sel(source="cats", seed=0)
        == said["cats"]["stories_rolling"]["bits_per_byte,none"]
    )
    assert not found["higher_is_better"]
    assert found["unit"] == "score"


def test_results_without_samples_give_scores_and_the_number_of_examples(copy):
    for file in copy.rglob("samples_*"):
        file.unlink()
    study = import_lm_eval(copy, tasks=BOTH, metric=ACC, filter="none")
    assert study.predictions is None
    assert study.scores["base_n_scored"].values.tolist() == [[10, 10]] * 2
    assert any("--log_samples" in line for line in remarks_of(study))


def test_a_single_missing_file_of_samples_is_named(copy):
    file = one(copy, "*cats/samples_stories_write*")
    file.unlink()
    with pytest.raises(DataError, match=file.name) as error:
        import_lm_eval(copy, tasks=BOTH, metric=ACC, filter="none")
    assert "1 of 6" in str(error.value)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[: len(text) // 2], "cut off"),
        (lambda text: "".join(text.splitlines(keepends=True)[:-2]), "8 of 10 examples"),
        (lambda text: text.replace('"acc": 1.0', '"acc": 0.0'), "no mean over examples"),
        (lambda text: text.replace('"acc":', '"accuracy":'), ":1: not a sample with metric 'acc'"),
        (lambda text: text + text.splitlines(keepends=True)[0], ":11: example 0 occurs twice"),
        (lambda text: "[1]\n" + text, ":1: a sample is a JSON object"),
    ],
)
def test_damaged_samples_are_an_error_with_the_file(copy, damage, message):
    file = one(copy, "*stories260K/samples_stories_choice*")
    text = file.read_text(encoding="utf-8")
    assert damage(text) != text
    file.write_text(damage(text), encoding="utf-8")
    with pytest.raises(DataError) as error:
        import_lm_eval(copy, tasks=["stories_choice"], metric="acc")
    assert str(file) in str(error.value)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_damaged_results_file_is_an_error_with_its_line(copy):
    file = one(copy, "*cats/results*")
    file.write_text(file.read_text(encoding="utf-8")[:2000], encoding="utf-8")
    with pytest.raises(DataError, match=rf"{file.name}:\d+: not valid JSON"):
        import_lm_eval(copy, metric=ACC)


def test_newer_results_of_a_model_replace_older_ones(copy):
    file = one(copy, "*cats/results*")
    data = json.loads(file.read_text(encoding="utf-8"))
    data["results"]["stories_choice"]["acc,none"] = 0.99
    file.with_name("results_2000-01-01T00-00-00.json").write_text(
        json.dumps(data), encoding="utf-8"
    )
    study = import_lm_eval(copy, metric=ACC, filter="none", scores_only=True)
    assert study.scores["score"].sel(source="cats", target="stories_choice", seed=0) < 0.99
    assert any("3 older results" in line for line in remarks_of(study))


def test_adapters_of_another_base_are_refused(copy):
    file = one(copy, "*cats/results*")
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("models/stories260K,peft", "models/other,peft"), encoding="utf-8")
    with pytest.raises(DataError, match="adapters of one model at a time"):
        import_lm_eval(copy, metric=ACC)


def test_names_and_base_can_be_given_and_a_wrong_one_is_corrected(copy):
    study = import_lm_eval(
        copy, base="cats", names={"stories260K": "plain"}, metric=ACC, filter="none",
        tasks=["stories_choice"],
    )  # fmt: skip
    assert {info.name for info in study.sources} == {"plain", "dogs"}
    with pytest.raises(DataError, match=r"no models are called 'catz'.* Did you mean 'cats'"):
        import_lm_eval(copy, base="catz", metric=ACC)
    with pytest.raises(DataError, match="no results of a task 'stories_choise'"):
        import_lm_eval(copy, tasks=["stories_choise"])
    with pytest.raises(DataError, match="both be called 'x'"):
        import_lm_eval(copy, names={"cats": "x", "dogs_seed1": "x"}, metric=ACC)
