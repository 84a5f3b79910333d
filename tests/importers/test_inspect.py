"""Logs that inspect_ai itself wrote, in both of its formats."""

import subprocess
import sys
from pathlib import Path

import pytest

from transferlens.errors import DataError, MissingExtraError
from transferlens.importers import import_inspect, recognise


@pytest.fixture(scope="module", params=["json", "eval"])
def logs(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    script = Path(__file__).with_name("write_inspect_logs.py")
    command = [sys.executable, script, folder, request.param]
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    assert len(list(folder.glob(f"*.{request.param}"))) == 4
    return folder


def test_logs_of_inspect_become_a_study_with_paired_examples(logs):
    assert recognise([logs]) == "inspect"
    study = import_inspect(logs, base="fixed/base", scorer="match")
    scores = study.scores.sel(source="tuned", seed=0)
    assert scores["base_score"].sel(target=["letters", "sums"]).values.tolist() == [0.5, 0.25]
    assert scores["score"].sel(target=["letters", "sums"]).values.tolist() == [0.5, 1.0]
    assert scores["n_scored"].sel(target=["letters", "sums"]).values.tolist() == [6, 4]
    first = study.predictions.collect().row(0, named=True)
    assert first["n_tokens"] == 1


def test_a_log_of_inspect_with_two_scorers_asks_for_one(logs):
    with pytest.raises(DataError, match=r"name one scorer of task 'sums' .*includes, match"):
        import_inspect(logs, base="fixed/base")


def test_binary_logs_without_inspect_say_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "inspect_ai.log", None)
    (tmp_path / "x.eval").write_bytes(b"PK")
    with pytest.raises(MissingExtraError, match=r"x\.eval needs|transferlens\[inspect\]"):
        import_inspect(tmp_path)
