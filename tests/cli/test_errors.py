"""However a command ends, it ends in one clear line and an exit code that says how."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from small_study import finished_folder
from transferlens.cli import app


@pytest.fixture
def invoke():
    return lambda *args: CliRunner().invoke(app, [str(arg) for arg in args])


@pytest.mark.parametrize("command", ["status", "matrix", "plot"])
def test_a_folder_that_is_no_study_is_one_line_and_exit_code_2(invoke, tmp_path, command):
    result = invoke(command, tmp_path)
    assert result.exit_code == 2
    assert result.stderr == f"Error: {tmp_path} is not a study folder: it has no manifest.json\n"
    assert not result.stdout


def test_a_mistake_in_the_study_file_names_its_line(invoke, tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text("sources: [a]\ntargets: [a]\nmetod: {}\n", encoding="utf-8")
    result = invoke("run", file, "--dry-run")
    assert result.exit_code == 2
    assert result.stderr == (
        f"Error: {file}:3: metod: unknown field 'metod'. Did you mean 'method'?\n"
    )


def test_an_unknown_command_or_option_is_exit_code_2(invoke):
    assert invoke("matrx").exit_code == 2
    assert invoke("tasks", "--nonsense").exit_code == 2


@pytest.fixture
def broken(monkeypatch):
    def fail(*_args, **_kwargs):
        msg = "the disk is on fire\nand more"
        raise ZeroDivisionError(msg)

    monkeypatch.setattr("transferlens.tasks.known_tasks", fail)


@pytest.mark.usefixtures("broken")
def test_an_unexpected_error_is_one_line_that_says_where_the_traceback_is(invoke):
    result = invoke("tasks")
    assert result.exit_code == 1
    line = result.stderr
    assert line.startswith("Unexpected ZeroDivisionError: the disk is on fire (")
    assert line.count("\n") == 1
    path = line.rpartition("traceback is in ")[2].strip().removesuffix(")")
    with open(path, encoding="utf-8") as file:  # noqa: PTH123 - as the message names it
        assert "in fail" in file.read()
    os.unlink(path)  # noqa: PTH108 - as above


@pytest.mark.usefixtures("broken")
def test_debug_prints_the_traceback_itself(invoke):
    result = invoke("--debug", "tasks")
    assert result.exit_code == 1
    assert "Traceback" in result.stderr
    assert "(the traceback is above)" in result.stderr


def test_an_interrupt_says_how_to_go_on(invoke, monkeypatch):
    def interrupt(*_args, **_kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("transferlens.tasks.known_tasks", interrupt)
    result = invoke("tasks")
    assert result.exit_code == 130
    assert "give the same command to go on" in result.stderr
    assert result.stderr.count("\n") == 1


def transferlens(*args, **kwargs):
    command = [sys.executable, "-m", "transferlens", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **kwargs)


def test_a_pipe_gets_whole_lines_without_colours(tmp_path):
    folder = finished_folder(tmp_path / "study").path
    env = {**os.environ, "COLUMNS": "20", "TERM": "xterm-256color"}
    result = transferlens("matrix", folder, env=env)
    assert result.returncode == 0
    assert "\x1b" not in result.stdout
    assert result.stdout.splitlines()[2].split() == ["maths", "[+70.0]", "-5.0", "0.0"]


def test_a_reader_that_stops_early_gets_no_traceback(tmp_path):
    folder = finished_folder(tmp_path / "study").path
    command = f"{sys.executable} -m transferlens matrix {folder} | true"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert "Traceback" not in result.stderr


def test_help_and_import_load_nothing_heavy():
    script = (
        "import sys, transferlens, transferlens.cli\n"
        "from typer.testing import CliRunner\n"
        "assert CliRunner().invoke(transferlens.cli.app, ['run', '--help']).exit_code == 0\n"
        "heavy = {'torch', 'transformers', 'polars', 'xarray', 'scipy', 'sklearn', 'matplotlib',"
        " 'datasets', 'pandas', 'pyarrow'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
