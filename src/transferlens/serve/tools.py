"""What an agent may ask a study: tools of the Model Context Protocol with typed answers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from transferlens.errors import AnalysisError, TransferLensError, did_you_mean
from transferlens.results import TransferStudy
from transferlens.serve.route import Route, Router, fit_router
from transferlens.transfer import TransferMatrix, in_points, transfer_matrix

__all__ = ["Comparison", "Effect", "Expectation", "Profile", "Recommended", "StudyTools"]

_LEVEL = 0.05
_SUFFIX = ".jsonl"
_LARGEST = 64 << 20


class Effect(BaseModel):
    """What an adapter does to one task; gains count upwards."""

    task: str
    gain: float | None = Field(description="Over the base; null: not measured.")
    low: float | None = Field(description="Lower end of the 95 % interval.")
    high: float | None
    unit: str
    p_adjusted: float | None = Field(description="Adjusted for all cells of the study.")
    verdict: str = Field(description="helps, harms or 'not certain'.")
    own_task: bool = Field(description="Whether it was trained on this very task.")


class Profile(BaseModel):
    """Everything that an adapter helps and harms."""

    adapter: str
    helps: list[Effect]
    harms: list[Effect]
    not_certain: list[Effect]
    notes: list[str]


class Recommended(BaseModel):
    """Which adapter should answer, and why."""

    adapter: str = Field(description="Name to ask the server for; 'base' where none helps.")
    task: str | None = Field(description="Nearest task of the study; null: unlike all.")
    probability: float | None = Field(description="Of that task, among the study's tasks.")
    gain: float | None
    low: float | None = Field(description="Lower bound that holds for all adapters at once.")
    unit: str
    reason: str


class Difference(BaseModel):
    """Two adapters on one task."""

    task: str
    first: Effect
    second: Effect
    better: str = Field(description="Name of the better one, or 'not certain'.")


class Comparison(BaseModel):
    """Two adapters, task by task."""

    first: str
    second: str
    tasks: list[Difference]
    notes: list[str]


class Expectation(BaseModel):
    """Predicted gain of an adapter that would be trained on a new dataset."""

    task: str
    gain: float | None
    low: float | None = Field(description="Of the 90 % interval; null: cannot be calibrated.")
    high: float | None
    unit: str


class Predicted(BaseModel):
    """What training on a new dataset is expected to bring."""

    dataset: str
    predictor: str
    tasks: list[Expectation]
    notes: list[str]


class StudyTools:
    """The tools, on one study."""

    def __init__(self, study: TransferStudy, *, data: Path) -> None:
        """Answer about a study.

        Parameters
        ----------
        data
            The only folder in which datasets are read.
        """
        self._study, self._data = study, data.resolve()

    @cached_property
    def _matrix(self) -> TransferMatrix:
        return transfer_matrix(self._study)

    @cached_property
    def _router(self) -> Router:
        return fit_router(self._study)

    @cached_property
    def _cells(self) -> dict[tuple[str, str], dict[str, Any]]:
        rows = in_points(self._matrix.to_frame()).iter_rows(named=True)
        return {(row["source"], row["target"]): row for row in rows}

    def which_adapter(self, task: str | None = None, prompt: str | None = None) -> Recommended:
        """Say which adapter should answer a task of the study, or a prompt of any kind.

        Give either the name of a task or the text of a prompt.
        """
        if (task is None) == (prompt is None):
            msg = "give either task or prompt"
            raise AnalysisError(msg)
        if task is not None:
            self._require(task, [info.name for info in self._study.targets], "task")
            return _recommended(self._router.for_task(task))
        return _recommended(self._router(prompt or ""))

    def what_does_adapter_do(self, name: str) -> Profile:
        """Say which tasks an adapter helps and which it harms, with intervals."""
        self._require_adapter(name)
        found = [self._effect(name, info.name) for info in self._study.targets]
        parts = {
            verdict: [effect for effect in found if effect.verdict == verdict]
            for verdict in ("helps", "harms", "not certain")
        }
        return Profile(
            adapter=name,
            helps=sorted(parts["helps"], key=lambda e: -(e.gain or 0.0)),
            harms=sorted(parts["harms"], key=lambda e: e.gain or 0.0),
            not_certain=parts["not certain"],
            notes=list(self._matrix.notes),
        )

    def compare_adapters(self, first: str, second: str) -> Comparison:
        """Compare two adapters task by task; paired over the same examples where they are known."""
        for name in (first, second):
            self._require_adapter(name)
        better = self._better(first, second)
        tasks = [
            Difference(
                task=info.name,
                first=self._effect(first, info.name),
                second=self._effect(second, info.name),
                better=better.get(info.name, "not certain"),
            )
            for info in self._study.targets
        ]
        notes = ["'better' is by sign flips over examples, adjusted for all tasks (Holm, 0.05)"]
        return Comparison(first=first, second=second, tasks=tasks, notes=notes)

    def predict_for_dataset(self, path: str) -> Predicted:
        """Predict what an adapter trained on a new dataset would gain on each task.

        ``path``: a JSONL file with ``prompt`` and ``completion`` in every row, inside the
        folder that the server was given for data.
        """
        import numpy as np
        import polars as pl

        from transferlens.explain.cards import rows_of_file
        from transferlens.predict import Complete, Newcomers, known_problem

        file = self._readable(path)
        name = file.stem
        new = Newcomers(sources={name: rows_of_file(file)}, targets={})
        problem = known_problem(self._study, newcomers=new)
        found = Complete()(problem, rng=np.random.default_rng(0))
        rows = found.to_frame().filter(pl.col("source") == name).to_dicts()
        tasks = [
            Expectation(
                task=row["target"],
                gain=_finite(row["predicted"]),
                low=_finite(row["low"]),
                high=_finite(row["high"]),
                unit=problem.unit,
            )
            for row in rows
        ]
        words = [choice.predictor for choice in found.choices]
        notes = ["predicted from the data alone, not measured"]
        return Predicted(dataset=name, predictor=", ".join(words), tasks=tasks, notes=notes)

    def _readable(self, path: str) -> Path:
        """Return a file inside the folder of data, whatever links lead to it."""
        file = (self._data / path).resolve()
        if not file.is_relative_to(self._data) or file.suffix != _SUFFIX or not file.is_file():
            msg = f"{path!r} is no {_SUFFIX} file inside the folder of data"
            raise AnalysisError(msg)
        if file.stat().st_size > _LARGEST:
            msg = f"{path!r} is larger than {_LARGEST >> 20} MiB; take fewer rows"
            raise AnalysisError(msg)
        return file

    def _better(self, first: str, second: str) -> dict[str, str]:
        import numpy as np

        from transferlens.stats import adjust_p_values, sign_flip_test

        if self._study.predictions is None:
            return {}
        rng, tests = np.random.default_rng(0), {}
        for info in self._study.targets:
            score = self._study.examples(info.name)["score"]
            one, other = (score.sel(source=name).mean("seed").values for name in (first, second))
            if np.count_nonzero(~np.isnan(one - other)) > 1:
                sign = 1.0 if info.higher_is_better else -1.0
                tests[info.name] = sign_flip_test(sign * one, sign * other, rng=rng)
        p_values = np.array([test.p_value for test in tests.values()])
        adjusted = adjust_p_values(p_values, method="holm")
        return {
            task: first if test.estimate > 0 else second
            for (task, test), p in zip(tests.items(), adjusted, strict=True)
            if p <= _LEVEL
        }

    def _effect(self, source: str, target: str) -> Effect:
        row = self._cells[source, target]
        gain, p = row["gain"], row["p_adjusted"]
        certain = not math.isnan(p) and p <= _LEVEL and gain != 0
        return Effect(
            task=target,
            gain=_finite(gain),
            low=_finite(row["gain_low"]),
            high=_finite(row["gain_high"]),
            unit=row["unit"],
            p_adjusted=_finite(p),
            verdict=("helps" if gain > 0 else "harms") if certain else "not certain",
            own_task=bool(row["own"]),
        )

    def _require_adapter(self, name: str) -> None:
        self._require(name, [info.name for info in self._study.sources], "adapter")

    def _require(self, name: str, known: list[str], kind: str) -> None:
        if name not in known:
            msg = f"no {kind} {name[:80]!r}.{did_you_mean(name[:80], known)}"
            raise AnalysisError(msg)


def _recommended(route: Route) -> Recommended:
    return Recommended(
        adapter=route.adapter or "base",
        task=route.task,
        probability=_finite(route.probability),
        gain=_finite(route.gain),
        low=_finite(route.low),
        unit=route.unit,
        reason=route.reason,
    )


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def make_mcp_server(tools: StudyTools, *, name: str) -> Any:
    """Return the server of the Model Context Protocol that offers the tools."""
    from mcp.server import MCPServer
    from mcp.server.mcpserver.exceptions import ToolError

    server = MCPServer(
        name="transferlens",
        instructions=(
            f"Facts about the adapters of the study {name!r}: which one answers which task best, "
            "measured on held-out examples. Gains are over the untuned base."
        ),
        log_level="WARNING",
    )
    offered: Mapping[str, Any] = {
        "which_adapter": tools.which_adapter,
        "what_does_adapter_do": tools.what_does_adapter_do,
        "compare_adapters": tools.compare_adapters,
        "predict_for_dataset": tools.predict_for_dataset,
    }
    for method in offered.values():
        server.tool(structured_output=True)(_explained(method, ToolError))
    return server


def _explained(method: Any, error_type: type[Exception]) -> Any:
    """Turn our errors into those that an agent reads; the signature stays."""
    import functools

    @functools.wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return method(*args, **kwargs)
        except TransferLensError as error:
            raise error_type(str(error)) from None

    return call
