"""A stored file is whole, or it is found and named; nothing in between is ever read."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from small_study import cell_rows, finished_folder, small_plan
from transferlens.errors import ResultsError
from transferlens.results import StudyStore, open_study
from transferlens.results.files import (
    claimed,
    damage_of,
    encode_parquet,
    held,
    write_atomically,
)


@pytest.fixture
def store(tmp_path):
    return finished_folder(tmp_path / "study")


@pytest.fixture(scope="module")
def encoded():
    cell = small_plan().cells[0]
    return encode_parquet(cell_rows(cell, 5), {"transferlens.cells": '{"a": "b"}'})


def test_a_flipped_bit_anywhere_in_a_cell_file_is_found(encoded, tmp_path):
    file = tmp_path / "cell.parquet"
    file.write_bytes(encoded)
    assert damage_of(file) is None
    for at in range(0, len(encoded), 7):
        content = bytearray(encoded)
        content[at] ^= 1 << at % 8
        file.write_bytes(content)
        assert damage_of(file), f"byte {at} was changed unnoticed"


def test_a_cell_file_cut_at_any_length_is_found(encoded, tmp_path):
    file = tmp_path / "cell.parquet"
    for length in range(0, len(encoded), 53):
        file.write_bytes(encoded[:length])
        assert damage_of(file), f"cut to {length} bytes unnoticed"


def test_bytes_behind_the_end_are_found(encoded, tmp_path):
    file = tmp_path / "cell.parquet"
    file.write_bytes(encoded + b"\0")
    assert damage_of(file)


def test_reading_a_damaged_cell_names_the_file_and_what_to_do(store):
    file = store.cell_path(store.plan.cells[4])
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 4
    file.write_bytes(content)
    study = open_study(store.path)
    with pytest.raises(ResultsError) as caught:
        _ = study.scores
    assert str(caught.value) == (
        f"{file} has changed since it was written (checksum differs); "
        "delete it and run the study again"
    )
    assert store.verify() == [str(caught.value).removeprefix(f"{store.path}/")]


def read(folder):
    """Return what reading all predictions says, and how many there are."""
    try:
        return "", open_study(folder).predictions.collect().height
    except ResultsError as error:
        return str(error), 0


def test_a_flip_anywhere_in_a_merged_file_is_one_of_our_errors_when_it_is_read(store):
    store.compact()
    file = next((store.path / "cells").glob("merged-*"))
    whole = file.read_bytes()
    # The last part holds the metadata, which is parsed before any checksum is compared.
    for at in range(len(whole) - 2200, len(whole), 67):
        content = bytearray(whole)
        content[at] ^= 8
        file.write_bytes(content)
        assert len(store.verify()) == 1
        problem, height = read(store.path)
        # Without a problem the name of a cell was hit: it is missing, and the rest is right.
        assert file.name in problem or height < 240


def test_a_damaged_or_missing_adapter_file_is_found_and_named(store):
    adapter = store.plan.adapters[1]
    folder = store.adapter_dir(adapter)
    file = folder / "manifest.json"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    damage = "has changed since it was written: manifest.json"
    assert store.adapters.damage(adapter) == damage
    assert store.verify() == [f"adapters/{folder.name} {damage}; delete it and run the study again"]
    file.unlink()
    assert store.adapters.damage(adapter) == "lacks manifest.json"
    (folder / "checksums.json").write_text("{", encoding="utf-8")
    assert store.adapters.damage(adapter) == "has no readable checksums"
    assert not store.adapter_done(adapter)


def test_a_discarded_adapter_is_trained_again_and_the_others_stay(store):
    first, second, _ = store.plan.adapters
    store.adapters.discard(first)
    assert not store.adapter_done(first)
    assert store.adapter_done(second)


def test_a_file_is_replaced_whole_and_leaves_no_temporary(tmp_path):
    file = tmp_path / "a.json"
    write_atomically(file, b"one")
    write_atomically(file, b"two" * 1000)
    assert file.read_bytes() == b"two" * 1000
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_when_the_disk_is_full_the_old_file_stays_and_the_line_says_so(tmp_path, monkeypatch):
    file = tmp_path / "a.json"
    write_atomically(file, b"old")

    def full(_fd, _content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(ResultsError, match=r"cannot write .*a\.json: No space left on device"):
        write_atomically(file, b"new")
    monkeypatch.undo()
    assert file.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


FULL_DISK = """
import sys
from small_study import cell_rows, small_plan
from transferlens.errors import ResultsError
from transferlens.results import StudyStore
store = StudyStore.create(sys.argv[1] + "/study")
plan = small_plan(tuple(range(20)))
store.write_plan(plan)
written = []
try:
    for cell in plan.cells:
        store.write_cell(cell, cell_rows(cell, 3))
        written.append(cell.id)
except ResultsError as error:
    print(error)
assert store.verify() == []
assert store.done_cells() == set(written)
assert not list(store.path.rglob(".tmp-*"))
store.cell_path(plan.cells[0]).unlink()
store.cell_path(plan.cells[1]).unlink()
store.write_cell(plan.cells[0], cell_rows(plan.cells[0], 3))
print(len(written), "kept")
"""


def test_a_really_full_disk_keeps_what_is_finished_and_work_goes_on_when_there_is_room(tmp_path):
    script = tmp_path / "fill.py"
    script.write_text(FULL_DISK, encoding="utf-8")
    mount = tmp_path / "small"
    mount.mkdir()
    inside = f"mount -t tmpfs -o size=200k none {mount} && {sys.executable} {script} {mount}"
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = ["unshare", "-r", "-m", "sh", "-c", inside]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    except FileNotFoundError:
        pytest.skip("no unshare on this system")
    if "mount" in result.stderr or "unshare" in result.stderr:
        pytest.skip("this system lets nobody mount a small disk")
    assert result.returncode == 0, result.stderr
    message, kept = result.stdout.splitlines()
    assert "No space left on device; mend this and run again: what is finished is kept" in message
    assert int(kept.split()[0]) > 10


@contextmanager
def nobody():
    """Give up what a superuser may do, who may write into a read-only folder."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_read_only_folder_can_be_read_and_refuses_work_in_one_line():
    with tempfile.TemporaryDirectory() as parent:
        Path(parent).chmod(0o755)
        store = finished_folder(Path(parent) / "study")
        folders = [store.path, *(path for path in store.path.rglob("*") if path.is_dir())]
        for folder in folders:
            folder.chmod(0o555)
        try:
            with nobody():
                assert open_study(store.path).scores["score"].shape == (3, 3, 1)
                assert set(store.cell_states().values()) == {"done"}
                cell = store.plan.cells[0]
                with pytest.raises(ResultsError, match=r"cannot write .*: Permission denied; mend"):
                    store.write_cell(cell, cell_rows(cell, 1))
                with pytest.raises(ResultsError, match=r"cannot lock .*: Permission denied"):
                    store.claim("cell", cell.id).__enter__()
                with pytest.raises(ResultsError, match=r"cannot lock .*: Permission denied; mend"):
                    store.at_work().__enter__()
        finally:
            for folder in folders:
                folder.chmod(0o755)


def test_a_claim_excludes_others_until_it_ends_and_then_leaves_nothing(tmp_path):
    lock = tmp_path / "cell.lock"
    with claimed(lock) as first:
        assert first
        assert held(lock)
        with claimed(lock, patience=0.01) as second:
            assert not second
        assert lock.exists()
    assert not held(lock)
    assert not lock.exists()


def test_the_claim_of_a_dead_process_is_free(tmp_path):
    lock = tmp_path / "cell.lock"
    script = (
        "import os, sys\nfrom pathlib import Path\n"
        "from transferlens.results.files import try_lock\n"
        "assert try_lock(Path(sys.argv[1])) is not None\nos.kill(os.getpid(), 9)\n"
    )
    result = subprocess.run([sys.executable, "-c", script, str(lock)], check=False)
    assert result.returncode == -9
    assert lock.exists()
    assert not held(lock)
    with claimed(lock) as free:
        assert free


def test_a_study_that_is_moved_is_the_same_study(store, tmp_path):
    before = open_study(store.path).scores
    moved = store.path.rename(tmp_path / "elsewhere")
    assert open_study(moved).scores.identical(before)
    assert StudyStore.open(moved).verify() == []
