"""Whatever starts the workers, and whatever ends them, the folder is that of one process alone."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
import yaml
from typer.testing import CliRunner

import transferlens as tl
from engine.small_run import assert_same, make_place, spec_of
from transferlens.cli import app
from transferlens.engine import executors
from transferlens.engine.executors.base import Assignment, End
from transferlens.engine.executors.local import LocalExecutor, local_devices
from transferlens.engine.executors.slurm import SlurmExecutor
from transferlens.engine.executors.worker import work_on
from transferlens.errors import EngineError, SpecError
from transferlens.results import StudyStore, study_status
from transferlens.study import ComputeSpec, StudySpec


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return make_place(tmp_path_factory.mktemp("place"))


@pytest.fixture(scope="module")
def undisturbed(place):
    tl.run(spec_of(place), place / "undisturbed", log="quiet")
    return place / "undisturbed"


def events(capsys, kind):
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    return [event for event in lines if event["event"] == kind]


def owner_of_lock(file):
    """Process that holds the lock on a file; None where nobody does."""
    inode = file.stat().st_ino
    for line in Path("/proc/locks").read_text(encoding="utf-8").splitlines():
        if match := re.search(rf" FLOCK .* (\d+) \S+:{inode} ", line):
            return int(match[1])
    return None


def kill_whoever_trains(folder, killed):
    """Kill the first process that has an adapter in work."""
    while not killed:
        for folder_of_training in folder.glob("adapters/.tmp-*"):
            lock = (
                folder / "locks" / f"adapter-{folder_of_training.name.removeprefix('.tmp-')}.lock"
            )
            try:
                pid = owner_of_lock(lock)
            except FileNotFoundError:
                continue
            if pid is not None:
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
                return
        time.sleep(0.002)


@pytest.mark.slow
def test_two_workers_of_whom_one_is_killed_leave_the_folder_of_one_process(
    place, undisturbed, tmp_path, capsys
):
    folder, killed = tmp_path / "study", []
    killer = threading.Thread(target=kill_whoever_trains, args=(folder, killed), daemon=True)
    killer.start()
    tl.run(spec_of(place, "compute.workers=2", "method.epochs=2"), folder, log="json")
    killer.join()
    told = [event["message"] for event in events(capsys, "workers")]
    (death,) = [line for line in told if "died" in line]
    assert re.match(
        rf"process {killed[0]} \(cpu\) died over adapter \w+, seed \d: it was ended by SIGKILL",
        death,
    )
    started = [re.findall(r"process (\d+)", line) for line in told if line.startswith("started")]
    assert [len(workers) for workers in started] == [2, 1]
    assert study_status(folder).cells == {"done": 10}
    assert study_status(folder).failures == ()
    assert list((folder / "locks").iterdir()) == []
    assert_same(undisturbed, folder)


@dataclass
class Double:
    """A worker of a `Cast`; it has worked, or died, before it is asked."""

    name: str
    place: str
    how: End

    def end(self):
        return self.how


@dataclass
class Cast:
    """An executor whose workers play parts, one after another, in this very process."""

    parts: list
    n_workers: int = 1
    poll_seconds: float = 0.0
    left: list = field(default_factory=list)

    def check(self, memory_bytes):
        assert memory_bytes > 0

    def adopt(self):
        return []

    def start(self, assignments):
        return [self.play(a, self.parts[min(a.number, len(self.parts) - 1)]) for a in assignments]

    def play(self, assignment, part):
        return Double(assignment.name, f"double {assignment.number}", part(assignment))

    def leave(self, workers):
        self.left = list(workers)
        return "two of them go on"

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass


def works(assignment):
    reason = work_on(assignment)
    return End("done") if reason is None else End("failed", reason)


def dies_over(source, seed):
    """Be killed while at an adapter: its lock stays behind."""

    def part(assignment):
        plan = StudyStore.open(assignment.folder).plan
        (adapter,) = [a for a in plan.adapters if (a.source, a.seed) == (source, seed)]
        with (Path(assignment.folder) / "locks" / f"adapter-{adapter.id}.lock").open("a") as lock:
            lock.write(f"{assignment.name}\n")
        return End("died", "was ended by SIGKILL")

    return part


def dies_at_once(assignment):
    return End("died", f"was ended by SIGSEGV; its log: {assignment.log}")


@pytest.fixture
def cast(monkeypatch):
    """Let workers play the given parts."""

    def choose(*parts):
        executor = Cast(list(parts))
        monkeypatch.setattr(executors, "executor_for", lambda *_, **__: executor)
        return executor

    return choose


def test_work_over_which_two_workers_died_has_failed_and_the_others_go_on(
    place, undisturbed, tmp_path, cast, capsys
):
    folder = tmp_path / "study"
    cast(dies_over("numbers", 1), dies_over("numbers", 1), works)
    tl.run(spec_of(place), folder, log="json")
    told = [event["message"] for event in events(capsys, "workers")]
    assert sum("died over adapter numbers, seed 1" in line for line in told) == 2
    (failure,) = study_status(folder).failures
    assert failure.what == "adapter numbers, seed 1"
    assert failure.message.startswith("2 workers died over it")
    assert failure.log.read_text(encoding="utf-8").count(".log") == 2
    assert study_status(folder).cells == {"done": 8, "failed": 2}
    cast(works)
    tl.run(spec_of(place), folder, log="quiet")
    assert_same(undisturbed, folder)


def test_work_over_which_one_worker_died_is_done_by_another(place, undisturbed, tmp_path, cast):
    cast(dies_over("colours", 0), works)
    tl.run(spec_of(place), tmp_path / "study", log="quiet")
    assert_same(undisturbed, tmp_path / "study")


def test_what_fails_is_tried_once_in_a_run_however_many_workers_follow(place, tmp_path, cast):
    folder = tmp_path / "study"
    wild = ("method.learning_rate=1e30", "method.max_grad_norm=1e30", "sources=[colours]")
    cast(dies_at_once, works, works)
    with pytest.warns(UserWarning, match="4 of 6 cells are missing"):
        tl.run(spec_of(place, *wild), folder, log="quiet")
    logs = "".join(log.read_text(encoding="utf-8") for log in (folder / "workers").glob("*.log"))
    assert logs.count('"event": "train"') == 2
    assert len(study_status(folder).failures) == 2
    cast(works)
    tl.run(spec_of(place, "sources=[colours]"), folder, log="quiet")
    assert study_status(folder).failures == ()


def test_workers_that_die_before_they_do_anything_end_the_run_in_one_line(place, tmp_path, cast):
    cast(dies_at_once)
    with pytest.raises(EngineError, match=r"end before they have done anything; see \S+workers,"):
        tl.run(spec_of(place), tmp_path / "study", log="quiet")


def test_what_keeps_a_worker_from_working_is_the_error_of_the_run(place, tmp_path, cast):
    cast(lambda assignment: works(dataclass_with(assignment, device="quantum")))
    with pytest.raises(EngineError, match=r"compute\.device='quantum' cannot be used here"):
        tl.run(spec_of(place), tmp_path / "study", log="quiet")


def dataclass_with(assignment, **changes):
    return Assignment.from_json(json.dumps({**json.loads(assignment.to_json()), **changes}))


def test_an_interrupt_says_what_keeps_running(place, tmp_path, cast, capsys):
    def interrupted(_):
        raise KeyboardInterrupt

    executor = cast(interrupted)
    with pytest.raises(KeyboardInterrupt):
        tl.run(spec_of(place), tmp_path / "study", log="json")
    assert executor.left == []
    assert events(capsys, "workers")[-1]["message"] == "two of them go on"


def test_a_worker_gets_the_very_same_study(place):
    spec = spec_of(place, "compute.memory=2GiB", "compute.slurm.time=1d12h")
    sent = Assignment(run="r", number=3, folder="f", spec=spec.to_dict(), root=str(spec.root))
    got = Assignment.from_json(sent.to_json())
    assert got == sent
    assert got.name == "r-3"
    assert StudySpec.from_dict(got.spec, root=got.root).content_hash == spec.content_hash


@pytest.mark.parametrize(
    ("compute", "count", "devices"),
    [
        ({}, 4, ["cuda:0", "cuda:1", "cuda:2", "cuda:3"]),
        ({}, 1, ["auto"]),
        ({"device": "cuda:1"}, 4, ["cuda:1"]),
        ({"device_map": "auto"}, 4, ["auto"]),
    ],
)
def test_workers_are_spread_over_all_accelerators(monkeypatch, compute, count, devices):
    cuda = torch.device("cuda")
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: cuda)
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: count)
    assert local_devices(ComputeSpec(**compute)) == devices


def test_without_an_accelerator_workers_share_the_processors_and_one_needs_no_process(
    monkeypatch, place
):
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert local_devices(ComputeSpec()) == ["cpu"]
    assert LocalExecutor(ComputeSpec(), ["cpu"], 3)._threads == 2
    assert LocalExecutor(ComputeSpec(threads=5), ["cpu"], 3)._threads == 5
    assert LocalExecutor(ComputeSpec(), ["cuda:0", "cuda:1"], 2)._threads is None
    from transferlens.engine.plan import plan_study

    plan = plan_study(spec_of(place))
    assert executors.executor_for(plan, place, n_groups=5) is None


SCRIPTS = {
    "srun": "",
    "sbatch": 'cp "${@: -1}" "$FAKE_SLURM/script.sh"\necho "Submitted batch job 77"',
    "sacct": 'printf "JobID|State|NodeList\\n77_0|RUNNING|n\\n77_1|PENDING|\\n"',
    "squeue": 'printf "JobID|State|NodeList\\n77_0|RUNNING|n\\n77_1|PENDING|\\n"',
}


@pytest.fixture
def fake_slurm(tmp_path, monkeypatch):
    """Commands that answer as Slurm's do; no job is run."""
    folder = tmp_path / "slurm"
    folder.mkdir()
    for name, text in SCRIPTS.items():
        (folder / name).write_text(f"#!/bin/bash\n{text}\n", encoding="utf-8")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("FAKE_SLURM", str(folder))
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def test_the_array_asks_slurm_for_what_the_study_says_and_is_found_again(fake_slurm, tmp_path):
    compute = ComputeSpec.model_validate(
        {
            "executor": "slurm", "cpus": 6, "gpus": 1, "memory": "24GB",
            "slurm": {
                "partition": "short", "time": "1h30m", "setup": ["module load cuda"],
                "extra": {"account": "linguistics"},
            },
        }
    )  # fmt: skip
    executor = SlurmExecutor(compute, tmp_path, n_groups=2)
    assert executor.n_workers == 2
    sent = [Assignment(run="r", number=i, folder="f", spec={}, root=".") for i in range(2)]
    workers = executor.start(sent)
    script = (fake_slurm / "script.sh").read_text(encoding="utf-8")
    for option in (
        "array=0-1%2", "partition=short", "time=90", "cpus-per-task=6", "gpus-per-node=1",
        "mem=24GB", "account=linguistics", "job-name=transferlens",
    ):  # fmt: skip
        assert f"#SBATCH --{option}" in script
    assert script.index("module load cuda") < script.index("srun")
    assert [worker.place for worker in workers] == ["job 77_0", "job 77_1"]
    assert [worker.end() for worker in workers] == [None, None]
    again = SlurmExecutor(compute, tmp_path, n_groups=2).adopt()
    assert [(worker.name, worker.place) for worker in again] == [
        ("r-0", "job 77_0"), ("r-1", "job 77_1"),
    ]  # fmt: skip
    assert "`scancel 77` ends them" in executor.leave(workers)


@pytest.mark.slow
def test_a_job_of_submitit_leaves_the_folder_of_one_process(place, undisturbed, tmp_path):
    jobs = ("compute.executor=slurm", "compute.slurm.cluster=local", "compute.workers=1")
    tl.run(spec_of(place, *jobs), tmp_path / "study", log="quiet")
    assert_same(undisturbed, tmp_path / "study")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["compute.slurm.time=5 parsecs"], "'5 parsecs' is no time; write it as 4h"),
        (["compute.slurm.time=1:30:00"], "write the time with its unit"),
        (["compute.memory=much"], "'much' is no amount of memory; write it as 16GB"),
    ],
)
def test_a_request_that_means_nothing_is_refused_with_its_place(place, given, message):
    with pytest.raises(SpecError, match=rf"study\.yaml\S*: compute\.\S+: {re.escape(message)}"):
        spec_of(place, *given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "Error: compute.executor=slurm: there is no sbatch on this machine"),
        (
            ["compute.slurm.cluster=local", "compute.memory=100MB"],
            "Error: compute.memory=0.1 GB: a worker is expected to need about 0.",
        ),
    ],
)
def test_a_request_that_cannot_be_granted_is_one_line_and_nothing_is_submitted(
    place, tmp_path, monkeypatch, given, message
):
    monkeypatch.setenv("PATH", str(tmp_path))
    folder = tmp_path / "study"
    command = ["run", str(place / "study.yaml"), "-o", str(folder), "--executor", "slurm", *given]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 2
    assert result.stderr.startswith(message)
    assert result.stderr.count("\n") == 1
    assert not list(folder.rglob("*submitted*"))


def test_the_examples_of_the_page_about_clusters_are_valid(request):
    page = request.config.rootpath / "docs" / "running-on-a-cluster.md"
    text = page.read_text(encoding="utf-8")
    blocks = [yaml.safe_load(b) for b in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]
    found = [ComputeSpec.model_validate(block["compute"]) for block in blocks]
    assert [compute.executor for compute in found] == ["ray", "slurm"]
    assert {compute.memory for compute in found} == {32 * 10**9}
