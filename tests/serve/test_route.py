"""The router and its evaluation, on studies whose truth is planted."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import transferlens as tl
from transferlens.cli.app import app
from transferlens.errors import AnalysisError
from transferlens.results import (
    BASE,
    Cell,
    Plan,
    PlannedAdapter,
    SourceInfo,
    StudyStore,
    TargetInfo,
)
from transferlens.serve import Router, evaluate_routing, fit_router
from transferlens.serve import quality as quality_module

WORDS = {
    "sums": "how much is {} plus {} ?",
    "moods": "is the film {} of {} good or bad ?",
    "cities": "in which land lies the town {} near {} ?",
}
N = 60
# Share of right answers: base, then adapters; each helps its own task and harms another.
SHARES = {
    BASE: (0.3, 0.5, 0.4),
    "sums": (0.9, 0.3, 0.4),
    "moods": (0.3, 0.95, 0.2),
    "useless": (0.3, 0.5, 0.4),
}


def write_study(path, rng):
    store, cells, adapters = StudyStore.create(path), [], []
    for source in SHARES:
        if source != BASE:
            adapters.append(PlannedAdapter(id=f"id{source}", source=source, seed=0, n_rows=9))
        cells += [
            Cell(id=f"{source}-{t}", adapter_id=f"id{source}", source=source, target=t, seed=0,
                 n_examples=N)
            for t in WORDS
        ]  # fmt: skip
    targets = tuple(
        TargetInfo(name=t, metric="accuracy", ceiling=1.0, n_examples=N, examples_id=t)
        for t in WORDS
    )
    store.write_plan(
        Plan(
            spec={}, study_hash="0" * 64, base={}, adapters=tuple(adapters), cells=tuple(cells),
            targets=targets, sources=tuple(SourceInfo(name=s) for s in SHARES if s != BASE),
        )
    )  # fmt: skip
    for name, template in WORDS.items():
        prompts = [template.format(*rng.integers(0, 99, 2)) + f" number {i}" for i in range(N)]
        frame = pl.DataFrame({"example": range(N), "prompt": prompts})
        store.write_examples(name, frame)
    for cell in cells:
        share = SHARES[cell.source][list(WORDS).index(cell.target)]
        store.write_cell(cell, rows_of(cell, np.arange(N) < round(share * N)))
    return tl.open_study(path)


def rows_of(cell, right):
    return pl.DataFrame(
        {
            "source": cell.source, "target": cell.target, "seed": 0, "example": range(N),
            "gold": "yes", "prediction": "yes", "completion": None,
            "score": right.astype(float), "n_tokens": 1, "truncated": False,
            "prompt_hash": [f"p{i}" for i in range(N)],
            "example_hash": [f"{cell.target}{i}" for i in range(N)], "choice_logprobs": None,
        },
        schema_overrides={"completion": pl.String, "choice_logprobs": pl.List(pl.Float64)},
    )  # fmt: skip


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return write_study(tmp_path_factory.mktemp("route") / "study", np.random.default_rng(3))


@pytest.fixture(scope="module")
def router(study):
    return fit_router(study)


@pytest.fixture(scope="module")
def quality(study):
    return evaluate_routing(study, rng=np.random.default_rng(0), n_resamples=999)


def test_a_prompt_goes_to_the_adapter_that_helps_its_task_or_to_the_base(router):
    assert router("how much is 3 plus 8 ? number 4").adapter == "sums"
    assert router("is the film 7 of 2 good or bad ? number 9").adapter == "moods"
    nothing_helps = router("in which land lies the town 4 near 5 ? number 1")
    assert (nothing_helps.adapter, nothing_helps.task) == (None, "cities")


def test_a_prompt_unlike_every_task_goes_to_the_base(router):
    for prompt in ("", "Schreibe mir bitte ein Gedicht", "!!!", "film"):
        found = router(prompt)
        assert found.adapter is None
        assert found.task is None
        assert "unlike" in found.reason


@settings(max_examples=60, deadline=None)
@given(prompt=st.text(max_size=80))
def test_any_text_has_a_route_whose_adapter_is_certain_to_help(router, prompt):
    found = router(prompt)
    assert (found.adapter is None) == (not found.low > 0)


def test_routing_many_prompts_is_routing_each(router):
    prompts = ["how much is 3 plus 8 ?", "good or bad ?", "Gedicht"]
    assert [r.reason for r in router.many(prompts)] == [router(p).reason for p in prompts]


def test_the_lower_bound_is_the_matrix_interval_at_the_level_of_all_adapters(study, router):
    from transferlens.transfer import Evidence, transfer_matrix

    data = transfer_matrix(study, Evidence(confidence=1 - 0.1 / 3)).data
    found = router.for_task("sums")
    cell = data.sel(source="sums", target="sums")
    assert found.low == pytest.approx(100 * float(cell["gain_low"]))
    assert found.gain == pytest.approx(100 * float(cell["gain"]))


def test_an_uncertain_task_mixes_the_gains_and_one_that_is_harmed_counts(router):
    gain, low, _ = router.gains.expected({"sums": 0.5, "moods": 0.5})
    at = router.gains.sources.index("sums")
    assert gain[at] == pytest.approx((60 - 20) / 2, abs=0.1)
    assert low[at] < gain[at]


def test_policies_score_what_is_planted(quality):
    table = {(r["scope"], r["policy"]): r for r in quality.table.to_dicts()}
    expected = {"router": (90, 95, 40), "base": (30, 50, 40), "oracle": (90, 95, 40)}
    for policy, scores in expected.items():
        for task, score in zip(WORDS, scores, strict=True):
            # A prompt that is taken for unlike its task falls back to the base.
            slack = 5 if policy == "router" else 0.01
            assert table[task, policy]["score"] == pytest.approx(score, abs=slack)
    assert table["", "base"]["score"] == pytest.approx(40)
    assert table["sums", "random"]["score"] == pytest.approx((90 + 30 + 30) / 3)
    whole = table["", "base"]
    assert whole["low"] > 25
    assert whole["p_adjusted"] < 0.01
    assert table["cities", "base"]["difference"] == 0


def test_the_difference_of_the_whole_is_the_mean_over_tasks(quality):
    for policy in ("base", "single", "random", "task", "oracle"):
        rows = quality.table.filter(pl.col("policy") == policy)
        tasks = rows.filter(pl.col("scope") != "")["difference"].mean()
        assert rows.filter(pl.col("scope") == "")["difference"][0] == pytest.approx(tasks)


def test_no_prompt_is_scored_by_a_router_that_knows_it(study, monkeypatch):
    known = {}
    asked = []

    def fit(part, *, prompts, level):
        router = fit_router(part, prompts=prompts, level=level)
        known[id(router)] = {text for texts in prompts.values() for text in texts}
        routers.append(router)
        return router

    def many(self, prompts):
        asked.append((id(self), prompts))
        return real(self, prompts)

    routers, real = [], Router.many
    monkeypatch.setattr(quality_module, "fit_router", fit)
    monkeypatch.setattr(Router, "many", many)
    evaluate_routing(study, rng=np.random.default_rng(1), n_resamples=99)
    assert sum(len(prompts) for _, prompts in asked) == N * len(WORDS)
    assert not any(known[owner] & set(prompts) for owner, prompts in asked)


def test_scores_alone_cannot_route(study):
    scores = tl.TransferStudy.from_scores(study.score_rows)
    with pytest.raises(AnalysisError, match="texts of its examples"):
        fit_router(scores)
    with pytest.raises(AnalysisError, match="predictions"):
        evaluate_routing(scores, rng=np.random.default_rng(0))


def test_the_command_prints_adapter_reason_and_the_evaluation(study):
    run = CliRunner().invoke
    found = run(app, ["route", str(study.path), "how much is 3 plus 8 ? number 4"])
    assert found.output.startswith("sums: nearest task sums")
    table = run(app, ["route", str(study.path), "--evaluate"])
    assert "an adapter at random" in table.output
    document = json.loads(run(app, ["route", str(study.path), "--evaluate", "--json"]).output)
    assert len(document["rows"]) == 4 * 6
    assert run(app, ["route", str(study.path)]).exit_code == 2
