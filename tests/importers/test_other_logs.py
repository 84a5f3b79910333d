"""Results of MTEB and logs of inspect_ai, in the layouts that these tools document."""

from __future__ import annotations

import json

import numpy as np
import pytest

from transferlens.errors import DataError
from transferlens.importers import import_inspect, import_mteb, recognise, remarks_of


def write(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


def mteb_result(folder, model, task, *scores, split="test", revision="r1"):
    subsets = [
        {"hf_subset": f"s{i}", "languages": ["eng-Latn"], "main_score": score, "accuracy": score}
        for i, score in enumerate(scores)
    ]
    data = {"task_name": task, "mteb_version": "2.1.0", "scores": {split: subsets}}
    return write(folder / model / revision / f"{task}.json", data)


@pytest.fixture
def mteb(tmp_path):
    for model, shift in (("org__plain", 0.0), ("org__tuned-nli", 0.1)):
        mteb_result(tmp_path, model, "Banking77Classification", 0.6 + shift)
        mteb_result(tmp_path, model, "STS22.v2", 0.2 + shift, 0.4 + shift)
        name = model.replace("__", "/")
        write(tmp_path / model / "r1" / "model_meta.json", {"name": name, "revision": "r1"})
    return tmp_path


def test_mteb_gives_main_scores_as_means_over_subsets(mteb):
    study = import_mteb(mteb, base="org/plain")
    assert [info.name for info in study.sources] == ["tuned-nli"]
    assert study.scores["target"].values.tolist() == ["Banking77Classification", "STS22.v2"]
    np.testing.assert_allclose(study.scores["score"].values.ravel(), [0.7, 0.4])
    np.testing.assert_allclose(study.scores["base_score"].values.ravel(), [0.6, 0.3])
    assert any("mean over the subsets of STS22.v2" in line for line in remarks_of(study))


def test_mteb_folders_say_the_model_where_no_meta_file_does(mteb):
    for file in mteb.rglob("model_meta.json"):
        file.unlink()
    assert [info.name for info in import_mteb(mteb, base="plain").sources] == ["tuned-nli"]


def test_mteb_asks_which_split_or_revision_is_meant(mteb):
    file = mteb_result(mteb, "org__plain", "Dev", 0.5, split="dev")
    assert import_mteb(file).scores["score"].values.ravel().tolist() == [0.5]
    with pytest.raises(DataError, match=r"no split 'test'.*Known: dev"):
        import_mteb(file, split="test")
    mteb_result(mteb, "org__plain", "STS22.v2", 0.5, revision="r2")
    with pytest.raises(DataError, match=r"has STS22.v2 in .* too; give the folder of one revision"):
        import_mteb(mteb)


def test_mteb_without_a_main_score_is_refused_with_the_file(mteb):
    file = write(mteb / "m" / "r" / "T.json", {"task_name": "T", "scores": {"test": [{"f1": 1}]}})
    with pytest.raises(DataError, match=r"T\.json: split 'test' has no main_score"):
        import_mteb(file)


def sample(number, value, *, epoch=1, prompt="Choose.", error=None):
    scores = None if error else {"choice": {"value": value, "answer": "A"}}
    return {
        "id": number,
        "epoch": epoch,
        "input": f"question {number}",
        "choices": ["x", "y"],
        "target": "A",
        "messages": [
            {"id": f"random{epoch}", "role": "user", "content": f"{prompt} question {number}"},
            {"id": "other", "role": "assistant", "content": "ANSWER: A"},
        ],
        "output": {
            "model": "m",
            "choices": [
                {"message": {"role": "assistant", "content": "ANSWER: A"}, "stop_reason": "stop"}
            ],
            "completion": "ANSWER: A",
            "usage": {"input_tokens": 9, "output_tokens": 4, "total_tokens": 13},
        },
        "scores": scores,
        "error": error,
    }


def log(folder, model, samples, *, name, status="success"):
    data = {"version": 2, "status": status, "eval": {"task": "demo/riddles", "model": model}}
    return write(folder / f"{name}_riddles.json", {**data, "samples": samples})


@pytest.fixture
def logs(tmp_path):
    log(tmp_path, "hf/base", [sample(1, "C"), sample(2, "I"), sample(3, "P")], name="1")
    tuned = [sample(1, "C"), sample(2, "C"), sample(3, None, error={"message": "x"})]
    log(tmp_path, "hf/tuned", tuned, name="2")
    return tmp_path


def test_inspect_letters_are_scores_and_an_error_is_no_score(logs):
    study = import_inspect(logs)
    rows = study.examples("riddles")
    assert rows["base_score"].values.tolist() == [[1.0, 0.0, 0.5]]
    np.testing.assert_array_equal(rows["score"].values[0, 0], [1.0, 1.0, np.nan])
    assert study.scores["n_unscored"].values.ravel().tolist() == [1]
    first = study.predictions.collect().row(0, named=True)
    assert (first["gold"], first["prediction"], first["n_tokens"]) == ("A", "A", 4)
    assert first["completion"] == "ANSWER: A"
    assert first["truncated"] is False


def test_inspect_epochs_are_averaged(logs):
    twice = [sample(1, 1), sample(1, 0, epoch=2), sample(2, "yes"), sample(3, "0.25")]
    log(logs, "hf/twice", twice, name="3")
    scores = import_inspect(logs).examples("riddles").sel(source="twice", seed=0)["score"]
    assert scores.values.tolist() == [0.5, 1.0, 0.25]


def test_inspect_refuses_other_prompts_and_unfinished_or_damaged_logs(logs):
    other = log(logs, "hf/other", [sample(1, "C", prompt="Pick.")], name="3")
    with pytest.raises(DataError, match=r"task 'riddles': base and other .* different prompts"):
        import_inspect(logs)
    other.unlink()
    unfinished = log(logs, "hf/other", [sample(1, "C")], name="3", status="started")
    with pytest.raises(DataError, match="did not finish"):
        import_inspect(logs)
    unfinished.unlink()
    (logs / "x.eval").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"x\.eval: inspect_ai cannot read this log"):
        import_inspect(logs)


def test_inspect_asks_for_the_scorer_and_takes_the_newest_log(logs):
    newer = sample(1, "I")
    log(logs, "hf/tuned", [newer], name="9")
    study = import_inspect(logs)
    assert study.scores["score"].values.ravel().tolist() == [0.0]
    assert any("1 older logs" in line for line in remarks_of(study))
    newer["scores"]["judge"] = {"value": 0.5}
    log(logs, "hf/tuned", [newer], name="9")
    with pytest.raises(DataError, match=r"name one scorer .*choice, judge"):
        import_inspect(logs)
    assert import_inspect(logs, scorer="choice").scores["score"].values.ravel().tolist() == [0.0]


def test_the_kind_of_results_is_recognised_from_their_content(mteb, tmp_path_factory):
    folder = tmp_path_factory.mktemp("kinds")
    inspect = log(folder / "logs", "m", [sample(1, "C")], name="1")
    harness = {"results": {}, "configs": {}, "config": {}}
    write(folder / "harness" / "m" / "results_1.json", harness)
    (folder / "scores.csv").write_text("a,b\n", encoding="utf-8")
    assert recognise([mteb]) == "mteb"
    assert recognise([inspect]) == recognise([folder / "logs"]) == "inspect"
    assert recognise([folder / "harness"]) == "lm-eval"
    assert recognise([folder / "scores.csv"]) == "matrix"
    with pytest.raises(DataError, match="one kind of results at a time"):
        recognise([mteb, folder / "scores.csv"])
    write(folder / "strange" / "x.json", [1])
    with pytest.raises(DataError, match="say what it is with --kind"):
        recognise([folder / "strange"])
    with pytest.raises(DataError, match="no such file or folder"):
        recognise([folder / "absent"])
