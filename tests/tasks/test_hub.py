"""Hugging Face datasets are read by the real library: local folders, splits, subsets, the cache."""

from __future__ import annotations

import sys

import pytest

from hub_folders import write_hub_folder, write_json_folder
from transferlens.errors import DataError, MissingExtraError
from transferlens.study import StudySpec
from transferlens.tasks import load_task
from transferlens.tasks.hub import hub_answers, read_dataset

ROWS = [{"text": f"row {i}", "label": i % 2} for i in range(10)]
OTHER = [{"text": f"other {i}", "label": 1} for i in range(4)]


@pytest.fixture(autouse=True)
def offline(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "home" / "datasets"))


@pytest.fixture
def folder(tmp_path):
    subsets = {"first": {"train": ROWS, "test": ROWS[:3]}, "second": {"train": OTHER}}
    return write_hub_folder(tmp_path / "owner" / "data", subsets)


def texts(rows):
    return [row["text"] for row in rows.records]


def test_a_folder_in_the_layout_of_the_hub_is_read_by_subset_and_split(folder, tmp_path):
    first = read_dataset("owner/data", root=tmp_path, subset="first", split="train")
    assert texts(first) == [row["text"] for row in ROWS]
    assert texts(read_dataset(str(folder), root=tmp_path, subset="second", split="train")) == [
        row["text"] for row in OTHER
    ]
    assert first.name(4) == "owner/data (first, train), row 4"


def test_a_split_may_be_an_expression(folder, tmp_path):
    for split, count in (("train[:30%]", 3), ("train[8:]", 2), ("train+test", 13)):
        rows = read_dataset(str(folder), root=tmp_path, subset="first", split=split)
        assert len(rows.records) == count


@pytest.mark.parametrize(
    ("subset", "split", "part"),
    [
        ("third", "train", "third"),
        ("first", "dev", "dev"),
        ("first", "train[", "train["),
        (None, "train", "first"),
    ],
)
def test_an_unknown_subset_or_split_is_one_line_that_names_it(
    folder, tmp_path, subset, split, part
):
    with pytest.raises(DataError) as caught:
        read_dataset(str(folder), root=tmp_path, subset=subset, split=split)
    message = str(caught.value)
    assert message.startswith(f"{folder} (")
    assert "\n" not in message
    assert part in message


def test_a_folder_of_save_to_disk_is_read(tmp_path):
    import datasets

    made = datasets.DatasetDict(
        {"train": datasets.Dataset.from_list(ROWS), "test": datasets.Dataset.from_list(OTHER)}
    )
    made.save_to_disk(str(tmp_path / "saved"))
    rows = read_dataset("saved", root=tmp_path, split="test+train[:2]")
    assert texts(rows) == ["other 0", "other 1", "other 2", "other 3", "row 0", "row 1"]


def test_a_task_of_a_study_reads_it_with_templates_and_limits(folder, tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text(
        "sources: [t]\ntargets: [t]\ntasks:\n  t:\n    data:\n      dataset: owner/data\n"
        '      subset: first\n    prompt: "Say: {{ text }}"\n    choices: ["no", "yes"]\n',
        encoding="utf-8",
    )
    study = StudySpec.from_yaml(file)
    task = load_task(study.sources[0], study, role="sources", index=0)
    train = task.train(4, seed=0)
    assert len(train) == 4
    assert all(example.prompt.startswith("Say: row ") for example in train)
    assert {example.gold for example in task.test(None, seed=0)} == {"no", "yes"}
    assert folder.is_dir()


def test_an_unreachable_dataset_names_the_line_of_the_study(tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text(
        "sources: [t]\ntargets: [t]\ntasks:\n  t:\n    data:\n      dataset: owner/data\n"
        "    choices: [a, b]\n",
        encoding="utf-8",
    )
    study = StudySpec.from_yaml(file)
    task = load_task(study.sources[0], study, role="sources", index=0)
    with pytest.raises(DataError) as caught:
        task.train(None, seed=0)
    message = str(caught.value)
    assert message.startswith(f"{file}:5: tasks.t.data: task 't': the dataset 'owner/data' is not")
    assert f"copy that folder to {tmp_path}/owner/data" in message


@pytest.mark.parametrize("name", ["HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_whoever_says_offline_is_not_asked(monkeypatch, name):
    asked = []
    monkeypatch.setattr("transferlens.tasks.hub._answers", lambda url: asked.append(url) or True)
    for other in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(other, raising=False)
    assert hub_answers()
    monkeypatch.setenv(name, "1")
    assert not hub_answers()
    assert len(asked) == 1


def test_a_host_that_hangs_is_given_up(monkeypatch):
    import threading

    never = threading.Event()
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr("transferlens.tasks.hub._TIMEOUT", 0.05)
    monkeypatch.setattr("transferlens.tasks.hub._answers", lambda _url: never.wait(60))
    assert not hub_answers()
    never.set()


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9", "ftp://example.org", "nonsense"])
def test_an_endpoint_that_is_none_does_not_answer(monkeypatch, endpoint):
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    assert not hub_answers()


def test_without_the_library_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(MissingExtraError, match=r'pip install "transferlens\[hub\]"'):
        read_dataset("owner/data", root=tmp_path, split="train")


def test_reading_leaves_the_settings_of_the_library_as_they_were(tmp_path):
    import datasets
    from huggingface_hub import constants

    write_json_folder(tmp_path / "json", "rows.jsonl", ROWS)
    before = datasets.are_progress_bars_disabled(), constants.HF_HUB_OFFLINE
    assert len(read_dataset("json", root=tmp_path, split="train").records) == 10
    (tmp_path / "home" / "datasets" / "owner___gone").mkdir(parents=True)
    with pytest.raises(DataError, match="'owner/gone' is not on this machine"):
        read_dataset("owner/gone", root=tmp_path, split="train")
    assert (datasets.are_progress_bars_disabled(), constants.HF_HUB_OFFLINE) == before
    assert "datasets" in sys.modules
