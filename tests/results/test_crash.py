"""Whatever moment a process dies at, nothing half written is seen; several never collide."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from small_study import N_EXAMPLES
from transferlens.results import StudyStore, open_study

# Forked before polars has started threads, so that a round costs a fork and not an import.
KILLED_WRITERS = """
import os, random, signal, sys, time
from small_study import cell_rows, small_plan
from transferlens.results import StudyStore
from transferlens.results.files import damage_of

store = StudyStore.create(sys.argv[1])
plan = small_plan()
store.write_plan(plan)

def work(pipe):
    while True:
        for cell in plan.cells:
            store.write_cell(cell, cell_rows(cell, os.urandom(1)[0] % 20))
            os.write(pipe, b"x")
        for adapter in plan.adapters:
            with store.claim("adapter", adapter.id):
                folder = store.temporary_adapter_dir(adapter)
                (folder / "adapter.safetensors").write_bytes(os.urandom(300_000))
                (folder / "manifest.json").write_text("{}")
                store.commit_adapter(folder, adapter)
        store.record_failure("some", "cell", "why", "log" * 1000)

def killed(cells, seconds):
    output, pipe = os.pipe()
    child = os.fork()
    if child == 0:
        work(pipe)
    os.close(pipe)
    for _ in range(cells):
        assert os.read(output, 1), "the writer has died by itself"
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(output)

moments, left = random.Random(3), 0
for number in range(100):
    # So many at least, and more until enough of them have hit a writer at work.
    if number >= 12 and left >= 3:
        break
    killed(moments.randrange(1 if number else 12, 14), moments.uniform(0, 0.03))
    damaged = [str(file) for file in store.path.glob("cells/[!.]*") if damage_of(file)]
    assert not damaged, damaged
    assert store.adapters.verify() == []
    store.failures()
    left += len(list(store.path.rglob(".tmp-*")))
    if number % 2:
        store.collect_garbage()
print(left, len(list(store.path.glob("cells/[!.]*"))))
"""

RIVALS = """
import json, os, random, sys, time
from small_study import cell_rows, small_plan
from transferlens.results import StudyStore

store = StudyStore.create(sys.argv[1])
plan = small_plan(tuple(range(4)))
store.write_plan(plan)

def write(name):
    mine, order = [], list(plan.cells)
    random.Random(name).shuffle(order)
    while len(store.done_cells()) < len(plan.cells):
        for cell in order:
            with store.claim("cell", cell.id) as free:
                if free and cell.id not in store.done_cells():
                    store.write_cell(cell, cell_rows(cell, 5 + cell.seed))
                    mine.append(cell.id)
    (store.path / "logs" / f"writer{name}.json").write_text(json.dumps(mine))

def tidy():
    while len(store.done_cells()) < len(plan.cells):
        store.collect_garbage()
        store.compact()
    store.compact()

children = []
for job in (lambda: write(1), lambda: write(2), tidy, tidy):
    child = os.fork()
    if child == 0:
        job()
        os._exit(0)
    children.append(child)
print([os.waitpid(child, 0)[1] for child in children])
"""


def nursery(script: str, folder: Path) -> str:
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    result = subprocess.run(
        [sys.executable, "-c", script, str(folder)],
        capture_output=True, text=True, check=False, env=env, timeout=300,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.slow
def test_a_writer_that_is_killed_at_any_moment_leaves_only_whole_files_and_rubbish(tmp_path):
    folder = tmp_path / "study"
    left, cells = map(int, nursery(KILLED_WRITERS, folder).split())
    assert left > 0, "no kill hit a writer at work, so the test has shown nothing"
    assert cells == 12
    store = StudyStore.open(folder)
    assert store.verify() == []
    store.collect_garbage()
    assert list(folder.rglob(".tmp-*")) == []
    assert open_study(folder).predictions.collect().height == 12 * N_EXAMPLES


@pytest.mark.slow
def test_two_writers_and_two_tidiers_share_a_folder_and_each_cell_is_made_once(tmp_path):
    folder = tmp_path / "study"
    assert nursery(RIVALS, folder).strip() == "[0, 0, 0, 0]"
    first, second = (
        json.loads((folder / "logs" / f"writer{name}.json").read_text()) for name in (1, 2)
    )
    store = StudyStore.open(folder)
    cells = store.plan.cells
    assert sorted(first + second) == sorted(cell.id for cell in cells)
    assert store.verify() == []
    study = open_study(folder)
    assert study.predictions.collect().height == len(cells) * N_EXAMPLES
    for seed in study.seeds:
        assert set(study.scores["score"].sel(seed=seed).values.ravel()) == {(5 + seed) / N_EXAMPLES}


def test_the_work_of_a_living_process_is_not_collected(tmp_path):
    store = StudyStore.create(tmp_path / "study")
    script = (
        "import sys\nfrom pathlib import Path\n"
        "from transferlens.results.files import _new_temporary\n"
        "print(_new_temporary(Path(sys.argv[1]))[0], flush=True)\nsys.stdin.read()\n"
    )
    target = store.path / "cells" / "x.parquet"
    with subprocess.Popen(
        [sys.executable, "-c", script, str(target)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        temporary = Path(process.stdout.readline().strip())
        assert store.collect_garbage() == []
        assert temporary.exists()
        process.kill()
    assert store.collect_garbage() == [temporary]
    assert not temporary.exists()
