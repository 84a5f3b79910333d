"""The ray executor on a real cluster, of this machine alone."""

from __future__ import annotations

import os

import pytest

import transferlens as tl
from engine.small_run import assert_same, make_place, spec_of
from transferlens.engine.executors.ray import RayExecutor, _Task
from transferlens.errors import EngineError
from transferlens.study import ComputeSpec

ray = pytest.importorskip("ray")


@pytest.fixture(scope="module")
def cluster():
    """Start a cluster of two processors, without its dashboard."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        # By default workers step back for everything else on the machine.
        patch.setenv("RAY_worker_niceness", "0")
        ray.init(
            num_cpus=2, num_gpus=0, object_store_memory=80_000_000, include_dashboard=False,
            log_to_driver=False, logging_level="ERROR",
        )  # fmt: skip
        yield
        ray.shutdown()


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_a_task_of_ray_leaves_the_folder_of_one_process(tmp_path):
    place = make_place(tmp_path)
    tl.run(spec_of(place), place / "alone", log="quiet")
    tl.run(spec_of(place, "compute.executor=ray", "compute.workers=1"), place / "ray", log="quiet")
    assert_same(place / "alone", place / "ray")
    # The cluster is its owner's: it still answers.
    assert ray.is_initialized()


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"gpus": 1}, r"compute\.gpus=1: no machine of the ray cluster has more than 0; ask for"),
        ({"cpus": 64}, r"compute\.cpus=64: no machine of the ray cluster has more than 2; ask for"),
        ({"memory": "900TB"}, r"compute\.memory=9\d+: no machine of the ray cluster has more than"),
        ({"memory": "1MB"}, r"compute\.memory=0\.001 GB: a worker is expected to need about 2 GB"),
    ],
)
def test_a_request_that_no_machine_can_grant_is_refused(asked, message):
    compute = ComputeSpec.model_validate({"executor": "ray", **asked})
    with pytest.raises(EngineError, match=message):
        RayExecutor(compute, 4).check(2 * 10**9)


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_there_are_as_many_workers_as_the_cluster_has_room_for():
    def workers(n_groups, **asked):
        return RayExecutor(ComputeSpec.model_validate(asked), n_groups).n_workers

    assert workers(5) == 2
    assert workers(5, cpus=2) == 1
    assert workers(1) == 1
    assert workers(5, workers=4) == 4


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_a_task_whose_process_is_gone_has_died():
    answer = ray.remote(max_retries=0)(lambda: os._exit(9)).remote()
    ray.wait([answer])
    end = _Task("r-0", "ray task r-0", answer).end()
    assert end is not None
    assert end.kind == "died"
    assert end.message.startswith("was lost: ")


def test_an_address_where_no_cluster_is_says_so(monkeypatch):
    def refuse(**_):
        msg = "Could not find any running Ray instance."
        raise ConnectionError(msg)

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", refuse)
    compute = ComputeSpec.model_validate({"executor": "ray", "ray": {"address": "auto"}})
    with pytest.raises(EngineError, match=r"compute\.ray\.address='auto': no ray cluster answers"):
        RayExecutor(compute, 4)
