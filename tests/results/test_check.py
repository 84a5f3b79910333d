"""Whatever is wrong in a study folder is found and named; mending it costs nothing else."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys

import polars as pl
import pytest

from small_study import N_EXAMPLES, TASKS, cell_rows, finished_folder
from transferlens.errors import ResultsError
from transferlens.results import StudyStore, check_study, collect, open_study, repair_study
from transferlens.results.files import encode_parquet
from transferlens.results.schema import PREDICTION_SCHEMA, conform


def texts(target):
    return pl.DataFrame(
        {
            "example": range(N_EXAMPLES),
            "prompt": [f"{target} {i}?" for i in range(N_EXAMPLES)],
            "gold": "yes",
            "prompt_hash": [f"p{i}" for i in range(N_EXAMPLES)],
            "example_hash": [f"{target}{i}" for i in range(N_EXAMPLES)],
        }
    )


def rewrite_adapter(store, adapter, fingerprint):
    """Store an adapter with a record of its base, as the engine does."""
    folder = store.temporary_adapter_dir(adapter)
    record = {"base": {"fingerprint": fingerprint}, "training": {"seconds": 1.0}}
    (folder / "manifest.json").write_text(json.dumps(record), encoding="utf-8")
    (folder / "adapter_model.safetensors").write_bytes(adapter.id.encode() * 500)
    store.commit_adapter(folder, adapter)


@pytest.fixture
def store(tmp_path):
    """A finished study whose examples are stored and whose adapters say what they grew on."""
    store = finished_folder(tmp_path / "study")
    plan = store.plan
    targets = tuple(
        dataclasses.replace(info, examples_id=f"{info.name}-1") for info in plan.targets
    )
    store.write_plan(dataclasses.replace(plan, targets=targets))
    for target in TASKS:
        store.write_examples(f"{target}-1", texts(target))
    for adapter in plan.adapters:
        rewrite_adapter(store, adapter, "fingerprint")
    return store


def hashes(store):
    return {
        str(file.relative_to(store.path)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(store.path.rglob("*"))
        if file.is_file()
    }


def findings(store):
    return [(str(f.path.relative_to(store.path)), f.problem) for f in check_study(store.path).wrong]


def flip(file, at=0.4):
    content = bytearray(file.read_bytes())
    content[int(len(content) * at)] ^= 16
    file.write_bytes(content)


def test_a_whole_study_has_no_findings_single_or_merged(store):
    checked = check_study(store.path)
    assert checked.findings == ()
    assert (checked.n_done, checked.n_cells) == (12, 12)
    assert checked.n_files == 12 + 3 + 3 * 3
    store.compact()
    assert check_study(store.path).findings == ()
    assert check_study(store.path).n_done == 12


def cell_file(store):
    return store.cell_path(store.plan.cells[4])


def text_file(store):
    return store.path / "examples" / "mood-1.parquet"


def weights_file(store):
    return store.adapter_dir(store.plan.adapters[1]) / "adapter_model.safetensors"


@pytest.mark.parametrize("damage", [flip, lambda file: os.truncate(file, 200)], ids=["flip", "cut"])
@pytest.mark.parametrize("choose", [cell_file, text_file, weights_file])
def test_what_is_damaged_is_named_and_mending_removes_that_and_nothing_else(store, choose, damage):
    before = hashes(store)
    file = choose(store)
    damage(file)
    gone = file if file.suffix == ".parquet" else file.parent
    name = str(gone.relative_to(store.path))
    ((found, problem),) = findings(store)
    assert found == name
    assert "has changed since it was written" in problem or "is cut short" in problem
    repaired = repair_study(store.path)
    assert [item.removed for item in repaired.findings] == [True]
    assert repaired.wrong == ()
    left = {path: digest for path, digest in before.items() if not path.startswith(name)}
    assert hashes(store) == left
    # Only texts are missed at once: a cell or an adapter that is not there is work to do.
    assert [path for path, _ in findings(store)] == ([name] if choose is text_file else [])
    states = [state for state in store.cell_states().values() if state != "done"]
    assert states == (["left"] if choose is cell_file else [])


def test_a_damaged_merged_file_goes_with_its_cells_and_the_other_adapters_keep_theirs(store):
    store.compact()
    file = next((store.path / "cells").glob("merged-maths0-*"))
    flip(file, 0.99)
    assert [path for path, _ in findings(store)] == [f"cells/{file.name}"]
    repair_study(store.path)
    left = {cell for cell, state in store.cell_states().items() if state == "left"}
    assert left == {f"maths0-{target}" for target in TASKS}


def overwrite(store, cell, rows):
    """Write rows past the checks of the store, with a right checksum."""
    names = json.dumps({cell.id: cell.target})
    content = encode_parquet(rows, {"transferlens.cells": names})
    store.cell_path(cell).write_bytes(content)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda rows: rows.head(7), "7 rows, where the plan has 20 examples"),
        (lambda rows: rows.with_columns(source=pl.lit("mood")), "its rows are of another adapter"),
        (lambda rows: rows.with_columns(example=pl.lit(3, pl.Int64)), "an example occurs twice"),
        (
            lambda rows: rows.with_columns(
                example_hash=pl.when(pl.col("example") == 6)
                .then(pl.lit("x"))
                .otherwise(pl.col("example_hash"))
            ),
            "example 6 is not the one stored for the target",
        ),
        (lambda rows: rows.drop("gold"), "its columns are not those of predictions"),
    ],
)
def test_rows_with_a_right_checksum_must_still_be_those_of_the_cell(store, change, problem):
    cell = store.plan.cells[3]
    rows = pl.read_parquet(store.cell_path(cell))
    overwrite(store, cell, change(rows))
    place = f"holds cell maths -> maths, seed 0: {problem}"
    assert findings(store) == [(f"cells/{cell.id}.parquet", place)]
    assert check_study(store.path).n_done == 11
    repair_study(store.path)
    assert store.cell_state(cell) == "left"
    assert len(store.done_cells()) == 11


def test_a_wrong_cell_in_a_merged_file_goes_alone(store):
    cells = [cell for cell in store.plan.cells if cell.source == "mood"]
    wrong = cells[1]
    rows = [conform(cell_rows(cell, 3), PREDICTION_SCHEMA, where="here") for cell in cells]
    frame = pl.concat(rows).with_columns(
        prompt_hash=pl.when(pl.col("target") == wrong.target)
        .then(pl.lit("other"))
        .otherwise(pl.col("prompt_hash"))
    )
    for cell in cells:
        store.cell_path(cell).unlink()
    store.write_merged(cells, frame)
    repair_study(store.path)
    assert {c for c, s in store.cell_states().items() if s == "left"} == {wrong.id}
    assert findings(store) == []
    kept = open_study(store.path).predictions.filter(source="mood").collect()
    assert kept.height == 2 * N_EXAMPLES
    assert kept["score"].sum() == 2 * 3


def test_a_copied_cell_under_another_name_is_found(store):
    first, second = store.plan.cells[:2]
    shutil.copy(store.cell_path(first), store.cell_path(second))
    problem = f"holds cell {first.id} under another name"
    assert findings(store) == [(f"cells/{second.id}.parquet", problem)]
    repair_study(store.path)
    assert store.cell_state(second) == "left"


def test_an_adapter_of_another_base_goes_with_all_that_it_answered(store):
    adapter = store.plan.adapters[2]
    rewrite_adapter(store, adapter, "another")
    found = findings(store)
    assert found[0] == (
        f"adapters/{adapter.folder}",
        "was trained on base another, where the plan has fingerprint",
    )
    assert len(found) == 1 + len(TASKS)
    repair_study(store.path)
    assert not store.adapter_done(adapter)
    left = {cell.adapter_id for cell in store.plan.cells if store.cell_state(cell) == "left"}
    assert left == {adapter.id}
    assert check_study(store.path).findings == ()


def test_a_damaged_plan_or_record_is_removed_and_the_cells_stay(store):
    record = store.path / "failures" / "x.json"
    record.write_text("{", encoding="utf-8")
    assert ("failures/x.json", "is no readable record of a failure") in findings(store)
    before = store.done_cells()
    (store.path / "plan.json").write_bytes(b'{"spec": 1')
    ((path, problem),) = findings(store)
    assert path == "plan.json"
    assert problem.startswith("is damaged (not a plan")
    repair_study(store.path)
    assert not (store.path / "plan.json").exists()
    assert store.done_cells() == before
    assert findings(store) == [("plan.json", "is missing: the study has not begun")]


# What is no longer needed


def test_garbage_is_what_no_plan_holds_and_what_dead_processes_left(store):
    plan = store.plan
    whole = hashes(store)
    smaller = dataclasses.replace(
        plan,
        adapters=plan.adapters[:2],
        cells=tuple(c for c in plan.cells if c.source != "topic" and c.target != "topic"),
        targets=plan.targets[:2],
        sources=plan.sources[:2],
    )
    store.write_plan(smaller)
    (store.path / "cells" / ".tmp-x.parquet.1.ab").write_bytes(b"half" * 100)
    (store.path / "locks" / "cell-x.lock").touch()
    store.temporary_adapter_dir(plan.adapters[0])
    expected = collect(store.path, dry_run=True)
    present = hashes(store)
    assert set(present) > set(whole)
    done = collect(store.path)
    assert not done.busy
    assert {item.path for item in done.removed} == {item.path for item in expected.removed}
    gone = {path: present[path] for path in present.keys() - hashes(store).keys()}
    cells = {f"cells/{c.id}.parquet" for c in plan.cells if c not in smaller.cells}
    adapter = plan.adapters[2].folder
    assert gone.keys() == cells | {
        "examples/topic-1.parquet", "cells/.tmp-x.parquet.1.ab", "locks/cell-x.lock",
        *(f"adapters/{adapter}/{name}" for name in
          ("adapter_model.safetensors", "checksums.json", "manifest.json")),
    }  # fmt: skip
    assert done.n_bytes == expected.n_bytes > 400
    assert not list(store.path.rglob(".tmp-*"))
    assert check_study(store.path).findings == ()
    assert collect(store.path).removed == ()


def test_a_merged_file_keeps_its_planned_cells_bit_for_bit(store):
    store.compact()
    plan = store.plan
    fewer = tuple(cell for cell in plan.cells if cell.target != "mood")
    key = ["source", "target", "example"]
    rows = open_study(store.path).predictions.filter(pl.col("target") != "mood").collect()
    store.write_plan(dataclasses.replace(plan, cells=fewer))
    (finding, *_) = check_study(store.path).findings
    assert finding.problem == "holds 1 cells that are not in the plan"
    assert not finding.wrong
    assert len(collect(store.path).removed) == 4
    assert store.done_cells() == {cell.id for cell in fewer}
    after = open_study(store.path).predictions.collect()
    assert after.sort(key).equals(rows.sort(key), null_equal=True)


HOLDER = """
import sys
from transferlens.results import StudyStore
store = StudyStore.open(sys.argv[1])
adapter = store.plan.adapters[0]
with store.at_work(), store.claim("adapter", adapter.id):
    folder = store.temporary_adapter_dir(adapter)
    (folder / "half").write_bytes(b"x")
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_what_a_running_process_holds_or_may_need_stays_until_it_has_ended(store):
    command = [sys.executable, "-c", HOLDER, str(store.path)]
    plan = store.plan
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        (store.path / "cells" / ".tmp-dead.1.ab").write_bytes(b"half")
        store.write_plan(dataclasses.replace(plan, cells=plan.cells[:-1]))
        assert [f.path.name for f in check_study(store.path).findings] == [
            ".tmp-dead.1.ab", f"{plan.cells[-1].id}.parquet",
        ]  # fmt: skip
        with pytest.raises(ResultsError, match=r"a process is at work in .*; repair it when"):
            repair_study(store.path)
        found = collect(store.path)
        assert found.busy
        assert [item.path.name for item in found.removed] == [".tmp-dead.1.ab"]
        assert (store.adapters.root / f".tmp-{plan.adapters[0].id}" / "half").exists()
        process.kill()
    found = collect(store.path)
    assert not found.busy
    assert f"{plan.cells[-1].id}.parquet" in {item.path.name for item in found.removed}
    assert not list(store.path.rglob(".tmp-*"))
    assert list((store.path / "locks").iterdir()) == []


def test_processes_at_work_share_the_folder_and_the_last_one_takes_the_mark_away(store):
    mark = store.path / "locks" / "study.lock"
    with store.at_work():
        with store.at_work(), store.alone() as alone:
            assert not alone
        assert mark.exists()
    assert not mark.exists()
    with store.alone() as alone:
        assert alone


def test_a_file_that_a_living_store_makes_meanwhile_is_no_finding(tmp_path):
    store = StudyStore.create(tmp_path / "new")
    (finding,) = check_study(store.path).findings
    assert finding.problem == "is missing: the study has not begun"
    with pytest.raises(ResultsError, match="no plan"):
        collect(store.path)
