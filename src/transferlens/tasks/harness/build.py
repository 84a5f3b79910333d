"""Tasks of lm-evaluation-harness, built with all their questions, and their own scores."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from transferlens.errors import DataError, EngineError, SpecError, TransferLensError, needs
from transferlens.tasks.harness.find import Found, Leaf, find_tasks
from transferlens.tasks.harness.metric import HarnessMetric, choose_metric
from transferlens.tasks.hub import hub_answers, is_cached, quiet_hub

__all__ = ["HarnessTask", "load_harness"]

_SEED = 1234
"""lm-eval's own default for the choice of examples in the prompt."""

_FILES = {"arrow", "csv", "json", "pandas", "parquet", "text", "xml"}
"""Readers of files, where another dataset_path is a name on the hub."""

_ONE_ANSWER = {"until", "do_sample", "temperature", "top_k", "top_p"}
_LENGTHS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
"""Names for the length of an answer; the first of them counts."""

_LENGTH: dict[str, Callable[[str], int]] = {
    "acc_norm": len,
    "acc_bytes": lambda choice: len(choice.encode()),
}
"""What a metric divides the log-likelihood of a choice by."""

Answer = str | list[tuple[float, bool]]
"""What a model wrote, or the log-likelihood of each continuation and whether it is the
model's own choice at every token."""


class Judged(NamedTuple):
    """What lm-eval makes of the answer to one example."""

    score: float
    written: str | None
    """A written answer as its filter leaves it; None for choices."""
    chosen: int | None
    """Place of the choice that its metric takes for the answer. Of a single continuation, None
    where the model would have written something else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HarnessTask:
    """A task with its questions."""

    name: str
    task: Any
    """``lm_eval.api.task.Task``; its requests are built."""
    metric: HarnessMetric
    record: Mapping[str, str]
    """Versions and hashes: all that can change a score beside the questions themselves."""
    group: str | None
    foreign: bool
    """Whether its definition does not come with lm-eval; its templates run in a sandbox then."""

    @property
    def requests(self) -> list[list[Any]]:
        """The requests of each example in lm-eval's order."""
        grouped: dict[int, list[Any]] = {}
        for request in self.task.instances:
            grouped.setdefault(request.doc_id, []).append(request)
        return [sorted(some, key=lambda request: request.idx) for some in grouped.values()]

    @property
    def writes(self) -> bool:
        """Whether answers are written; else continuations are compared."""
        return bool(self.task.instances[0].request_type == "generate_until")

    @property
    def wants_greedy(self) -> bool:
        """Whether a score depends on what the model itself would have written."""
        plain = self.task.OUTPUT_TYPE == "multiple_choice" and not callable(
            self.task.config.process_results
        )
        return not self.writes and (not plain or self.metric.key == "exact_match")

    @property
    def stop(self) -> tuple[str, ...]:
        """Texts at which an answer ends."""
        until = self.task.instances[0].args[1].get("until") or []
        return (until,) if isinstance(until, str) else tuple(until)

    @property
    def max_new_tokens(self) -> int:
        """Most tokens of an answer; lm-eval's default is 256."""
        given = self.task.instances[0].args[1]
        return int(next((given[n] for n in _LENGTHS if given.get(n) is not None), 256))

    def judge(self, answers: Sequence[Answer]) -> list[Judged]:
        """Let lm-eval score the answers, one or one list of them per example.

        Raises
        ------
        EngineError
            lm-eval gives no number for an example.
        """
        for some, answer in zip(self.requests, answers, strict=True):
            given = [answer] if isinstance(answer, str) else answer
            for request, response in zip(some, given, strict=True):
                request.resps, request.filtered_resps = [response], {}
        with _calm(self.foreign):
            self.task.apply_filters()
            return [self._one(some) for some in self.requests]

    def _one(self, some: Sequence[Any]) -> Judged:
        found = [request.filtered_resps[self.metric.filter] for request in some]
        scores = self.task.process_results(some[0].doc, found)
        try:
            value = float(scores[self.metric.key])
        except (KeyError, TypeError, ValueError):
            msg = f"lm-eval's task {self.name} gives no number as {self.metric.name}"
            raise EngineError(msg) from None
        if self.writes:
            return Judged(value, str(found[0]), None)
        return Judged(value, None, self._chosen(some))

    def _chosen(self, some: Sequence[Any]) -> int | None:
        """Return the place of the choice that the metric takes for the model's answer."""
        n_choices = self.n_choices(some)
        if n_choices == 1:
            return 0 if some[0].resps[0][1] else None
        values = np.array([request.resps[0][0] for request in some])
        if self.metric.key == "acc_mutual_info":
            values[:n_choices] -= values[n_choices:]
        length = _LENGTH.get(self.metric.key)
        if length is not None:
            texts = self.task.doc_to_choice(some[0].doc)
            values[:n_choices] /= [length(text) for text in texts]
        return int(np.argmax(values[:n_choices]))

    def n_choices(self, some: Sequence[Any]) -> int:
        """Return how many of an example's requests are its choices."""
        # For this metric each choice is asked again, without a prompt.
        doubled = "acc_mutual_info" in self.task.aggregation()
        return len(some) // 2 if doubled else len(some)


def load_harness(
    wanted: str,
    *,
    root: Path,
    metric: str | None = None,
    shots: int | None = None,
    limit: int | None = None,
    unsafe: bool = False,
) -> tuple[HarnessTask, ...]:
    """Build the tasks that a name, a YAML file or a folder stands for, with all their questions.

    Parameters
    ----------
    wanted
        Task, group or tag of lm-eval; or a YAML file or folder, relative to ``root``.
        Relative data files of a local definition start at its folder.
    metric
        ``KEY`` or ``KEY,FILTER``; each task's first unless given.
    shots
        Examples in the prompt, as lm-eval's ``--num_fewshot``.
    limit
        Only the first so many, as lm-eval's ``--limit``.
    unsafe
        Whether a task may run code.

    Raises
    ------
    MissingExtraError
        lm-eval is not installed.
    SpecError
        There is no such task, it would run code, or cannot be a target.
    DataError
        Its data cannot be read.
    """
    with needs("lm_eval", extra="lm-eval", purpose=f"{wanted}: a task of lm-evaluation-harness"):
        import lm_eval.tasks  # noqa: F401 - only whether it is there
    with _calm():
        found = find_tasks(wanted, root)
    for leaf in found.leaves:
        _refuse_unfit(leaf, unsafe=unsafe)
    online = hub_answers() if any(_on_hub(leaf, found) for leaf in found.leaves) else False
    for leaf in found.leaves if not online else ():
        _refuse_missing(leaf, found)
    with quiet_hub(offline=not online), _calm(found.folder is not None), _in_folder(found.folder):
        tasks = _built(found)
        return tuple(
            _prepared(name, task, found, metric=metric, shots=shots, limit=limit)
            for name, task in tasks.items()
        )


def _refuse_unfit(leaf: Leaf, *, unsafe: bool) -> None:
    config = leaf.config
    trusting = (config.get("dataset_kwargs") or {}).get("trust_remote_code")
    reasons = {
        "runs code that a model wrote": bool(config.get("unsafe_code")),
        "runs Python functions that its YAML file names": leaf.functions,
        "runs code that comes with its dataset (trust_remote_code)": bool(trusting),
    }
    reason = next((why for why, holds in reasons.items() if holds), None)
    if reason and not unsafe:
        msg = f"lm-eval's task {leaf.name} {reason}; allow it with `unsafe_code: true` in the task"
        raise SpecError(msg)
    if config.get("doc_to_image") or config.get("doc_to_audio"):
        msg = f"lm-eval's task {leaf.name} shows pictures or sound, which no text model reads"
        raise SpecError(msg)
    if config.get("output_type") == "loglikelihood_rolling":
        msg = (
            f"lm-eval's task {leaf.name} measures perplexity of whole texts "
            "(loglikelihood_rolling), which is no mean of scores of examples"
        )
        raise SpecError(msg)


def _on_hub(leaf: Leaf, found: Found) -> bool:
    path = leaf.config.get("dataset_path")
    if not isinstance(path, str) or path in _FILES:
        return False
    return not ((found.folder or Path.cwd()) / path).exists()


def _refuse_missing(leaf: Leaf, found: Found) -> None:
    path = leaf.config.get("dataset_path")
    if _on_hub(leaf, found) and not is_cached(str(path)):
        msg = (
            f"the dataset {str(path)!r} of lm-eval's task {leaf.name} is not on this machine and "
            "the hub cannot be reached: connect once, or copy the cache of Hugging Face datasets "
            "from a machine that has it"
        )
        raise DataError(msg)


def _built(found: Found) -> dict[str, Any]:
    try:
        loaded: dict[str, Any] = found.manager.load(list(found.names))["tasks"]
    except Exception as error:  # noqa: BLE001 - tasks are code and data of many hands
        msg = f"lm-eval cannot load {', '.join(found.names)}: {_line(error)}"
        raise DataError(msg) from None
    return loaded


def _prepared(
    name: str, task: Any, found: Found, *, metric: str | None, shots: int | None, limit: int | None
) -> HarnessTask:
    try:
        chosen = choose_metric(task, metric)
        # As lm-eval's command line: what a task sets to 0 stays 0.
        if task.config.num_fewshot is None:
            task.set_config("num_fewshot", shots or 0)
        elif shots is not None and task.config.num_fewshot != 0:
            task.set_config("num_fewshot", shots)
        task.set_fewshot_seed(_SEED)
        task.build_all_requests(limit=limit)
        _refuse_unlike(task)
    except TransferLensError as error:
        msg = f"lm-eval's task {name}: {error}"
        raise type(error)(msg) from None
    except Exception as error:  # noqa: BLE001 - as above
        msg = f"lm-eval cannot make questions of {name}: {_line(error)}"
        raise DataError(msg) from None
    return HarnessTask(
        name=name,
        task=task,
        metric=chosen,
        record=_record(name, task, chosen),
        group=found.group,
        foreign=found.folder is not None,
    )


def _refuse_unlike(task: Any) -> None:
    """Refuse questions that one greedy answer, or log-likelihoods, do not answer."""
    kinds = {request.request_type for request in task.instances}
    if len(kinds) > 1 or not kinds <= {"loglikelihood", "generate_until"}:
        msg = f"its questions are of kinds that cannot be one target: {', '.join(sorted(kinds))}"
        raise SpecError(msg)
    if (task.config.repeats or 1) > 1:
        msg = "it asks for several answers to each question; only one, the greedy one, is made"
        raise SpecError(msg)
    if kinds == {"generate_until"}:
        given = [json.dumps(r.args[1], sort_keys=True, default=str) for r in task.instances]
        settings = task.instances[0].args[1]
        extra = sorted(settings.keys() - _ONE_ANSWER - set(_LENGTHS))
        if len(set(given)) > 1 or extra or settings.get("do_sample") or settings.get("temperature"):
            what = extra[0] if extra else "sampling"
            msg = f"its answers are not greedy ({what} in generation_kwargs), ours always are"
            raise SpecError(msg)


def _record(name: str, task: Any, metric: HarnessMetric) -> dict[str, str]:
    config = {
        key: value
        for key, value in task.dump_config().items()
        # Paths of this machine; what they lead to is in the hash of the questions.
        if key not in {"metadata", "dataset_kwargs", "dataset_path"}
    }
    asked = [[request.doc, request.arguments] for request in task.instances]
    return {
        "lm_eval": version("lm_eval"),
        "task": name,
        "version": str(task.VERSION),
        "metric": metric.name,
        "num_fewshot": str(task.config.num_fewshot),
        "fewshot_seed": str(_SEED),
        "config_hash": _hash(config),
        "questions_hash": _hash(asked),
    }


def _hash(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _plain(value: Any) -> str:
    # The text of a function has its address in memory.
    return getattr(value, "__qualname__", None) or str(value)


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


@contextlib.contextmanager
def _calm(sandboxed: bool = False) -> Iterator[None]:  # noqa: FBT001, FBT002 - one private switch
    """Silence lm-eval's logs, bars and warnings; let templates of others not reach Python."""
    from jinja2.sandbox import SandboxedEnvironment
    from lm_eval import utils

    logger, open_environment = logging.getLogger("lm_eval"), utils.env
    level = logger.level
    if sandboxed:
        utils.env = SandboxedEnvironment(
            undefined=open_environment.undefined,
            keep_trailing_newline=open_environment.keep_trailing_newline,
        )
        utils.env.filters.update(open_environment.filters)
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
        utils.env = open_environment


def _in_folder(folder: Path | None) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext() if folder is None else contextlib.chdir(folder)
