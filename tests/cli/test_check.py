"""`check` and `gc` say what they found in lines and exit codes."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from small_study import finished_folder
from transferlens.cli import app


@pytest.fixture
def store(tmp_path):
    return finished_folder(tmp_path / "study")


def call(*args, code=0):
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    assert result.exit_code == code, result.output
    return result.stdout


def test_a_right_study_ends_with_code_0_and_a_damaged_one_with_2_until_it_is_repaired(store):
    whole = "12 of 12 cells are there and right. Nothing is wrong.\n"
    assert call("check", store.path).endswith(whole)
    cell = store.plan.cells[5]
    store.cell_path(cell).write_bytes(b"half")
    line, summary = call("check", store.path, code=2).splitlines()
    assert line == f"wrong: cells/{cell.id}.parquet is cut short or is not a result file"
    assert summary.endswith(f"11 of 12 cells are there and right. To mend it: "
                            f"transferlens check {store.path} --repair")  # fmt: skip
    document = json.loads(call("check", store.path, "--json", code=2))
    assert (document["done"], document["wrong"]) == (11, 1)
    (finding,) = document["findings"]
    assert finding["path"] == f"cells/{cell.id}.parquet"
    line, summary = call("check", store.path, "--repair").splitlines()
    assert line.startswith(f"removed: cells/{cell.id}.parquet ")
    assert summary.endswith("The same `transferlens run` makes what is missing.")
    assert "11 of 12 cells are there and right" in call("check", store.path)


def test_what_is_unused_is_no_error_and_gc_says_what_it_frees(store):
    (store.path / "cells" / ".tmp-x.1.ab").write_bytes(b"x" * 2048)
    line, summary = call("check", store.path).splitlines()
    assert line == "unused: cells/.tmp-x.1.ab was left unfinished by a process that is gone"
    assert summary.endswith(f"To remove what is unused: transferlens gc {store.path}")
    assert call("gc", store.path, "--dry-run").splitlines()[-1] == (
        "1 files and folders, 2 KiB would be freed"
    )
    assert call("gc", store.path).splitlines() == [
        "     2 KiB  cells/.tmp-x.1.ab was left unfinished by a process that is gone",
        "1 files and folders, 2 KiB freed",
    ]
    assert call("gc", store.path) == "0 files and folders, 0 B freed\n"
