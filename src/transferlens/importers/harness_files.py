"""Files that lm-evaluation-harness writes: results of a run, samples of a task."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from transferlens.errors import DataError
from transferlens.importers.runs import Sample

__all__ = [
    "HarnessRun",
    "find_results",
    "is_harness",
    "read_json_file",
    "read_results",
    "read_samples",
]

_LARGEST_JSON = 512 * 2**20
_LENGTHS: dict[str, Callable[[str], int]] = {
    "acc_norm": len,
    "acc_bytes": lambda text: len(text.encode()),
}
"""By what a metric divides the log-likelihoods before it compares them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HarnessRun:
    """One results file."""

    file: Path
    model: str
    """The pretrained model, as it was named."""
    adapter: str | None
    """The PEFT adapter, as it was named; None for a model without one."""
    results: Mapping[str, Mapping[str, Any]]
    """Task -> ``metric,filter`` -> value; groups of tasks are left out."""
    configs: Mapping[str, Mapping[str, Any]]
    higher_is_better: Mapping[str, Mapping[str, bool | None]]
    n_samples: Mapping[str, Mapping[str, int]]

    @property
    def path(self) -> str:
        """What was evaluated: the adapter, or the model."""
        return self.adapter or self.model

    def samples_file(self, task: str) -> Path:
        """File of a task's samples, whether or not it exists."""
        stamp = self.file.name.removeprefix("results").removesuffix(".json")
        return self.file.with_name(f"samples_{task}{stamp}.jsonl")

    def scores(self, task: str) -> dict[tuple[str, str], float]:
        """Return (metric, filter) -> value of a task."""
        found = {}
        for key, value in self.results[task].items():
            metric, comma, name = key.partition(",")
            if comma and not metric.endswith("_stderr") and isinstance(value, int | float):
                found[metric, name] = float(value)
        return found


def find_results(paths: Iterable[Path]) -> list[Path]:
    """Return the results files at and below the paths, in the order of their names.

    Raises
    ------
    DataError
        A path does not exist, or holds none.
    """
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            msg = f"{path}: no such file or folder"
            raise DataError(msg)
        files = sorted(path.rglob("results*.json")) if path.is_dir() else [path]
        if not files:
            msg = f"{path}: no results_*.json of lm-evaluation-harness in it or below"
            raise DataError(msg)
        found += files
    return list(dict.fromkeys(found))


def read_json_file(file: Path) -> Any:
    """Read a JSON file.

    Raises
    ------
    DataError
        It is too large, cannot be read or is not JSON; the message names the line.
    """
    try:
        if file.stat().st_size > _LARGEST_JSON:
            msg = f"{file}: larger than 512 MiB"
            raise DataError(msg)
        return json.loads(file.read_bytes())
    except OSError as error:
        msg = f"{file}: cannot be read ({error.strerror or error})"
        raise DataError(msg) from None
    except json.JSONDecodeError as error:
        msg = f"{file}:{error.lineno}: not valid JSON ({error.msg}); is the file whole?"
        raise DataError(msg) from None
    except (UnicodeDecodeError, RecursionError):
        msg = f"{file}: not a readable JSON file"
        raise DataError(msg) from None


def read_results(file: Path) -> HarnessRun:
    """Read a results file.

    Raises
    ------
    DataError
        It is damaged, or not of lm-evaluation-harness.
    """
    data = read_json_file(file)
    if not is_harness(data):
        msg = f"{file}: no results of lm-evaluation-harness ('results', 'configs' and 'config')"
        raise DataError(msg)
    arguments = _arguments(data["config"].get("model_args"))
    model = str(arguments.get("pretrained") or data.get("model_name") or file.parent.name)
    adapter = arguments.get("peft") or arguments.get("delta")
    return HarnessRun(
        file=file,
        model=model,
        adapter=str(adapter) if adapter else None,
        # Groups such as mmlu repeat their members and have no configuration.
        results={t: r for t, r in data["results"].items() if t in data["configs"]},
        configs=data["configs"],
        higher_is_better=data.get("higher_is_better") or {},
        n_samples=data.get("n-samples") or {},
    )


def is_harness(data: Any) -> bool:
    """Whether a JSON value is a results file of lm-evaluation-harness."""
    keys = ("results", "configs", "config")
    return isinstance(data, dict) and all(isinstance(data.get(key), dict) for key in keys)


def _arguments(given: Any) -> dict[str, Any]:
    """Read ``pretrained=…,peft=…``, or the same as a mapping."""
    if isinstance(given, dict):
        return given
    pairs = (part.partition("=") for part in str(given or "").split(","))
    return {key.strip(): value.strip() for key, sign, value in pairs if sign}


def read_samples(file: Path, *, metric: str, name: str, config: Mapping[str, Any]) -> list[Sample]:
    """Read the samples of a task, of one metric and one filter.

    Raises
    ------
    DataError
        The file is damaged, or a sample's score is no number; the message names the line.
    """
    found: dict[object, Sample] = {}
    for line, row in _rows(file):
        if row.get("filter", "none") != name:
            continue
        if row.get("doc_id") in found:
            msg = f"{file}:{line}: example {row.get('doc_id')} occurs twice for filter {name!r}"
            raise DataError(msg)
        if isinstance(row.get(metric), list | dict):
            msg = (
                f"{file}:{line}: {metric} is no number per example, so its score is no mean over "
                "examples; choose another metric, other tasks, or import scores only"
            )
            raise DataError(msg)
        try:
            found[row.get("doc_id")] = _sample(row, metric, config)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            msg = f"{file}:{line}: not a sample with metric {metric!r}: {error!r}"
            raise DataError(msg) from None
    # By number, so that equal examples pair in the same order in every run.
    return [found[key] for key in sorted(found, key=lambda key: (len(str(key)), str(key)))]


def _rows(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        with file.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                row = json.loads(line)
                if not isinstance(row, dict):
                    msg = f"{file}:{number}: a sample is a JSON object"
                    raise DataError(msg)
                yield number, row
    except OSError as error:
        msg = f"{file}: cannot be read ({error.strerror or error})"
        raise DataError(msg) from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
        msg = f"{file}: not valid JSON lines; the file is damaged or was cut off"
        raise DataError(msg) from None


def _sample(row: Mapping[str, Any], metric: str, config: Mapping[str, Any]) -> Sample:
    value = row[metric]
    answer = _Answer(_text(row.get("target")))
    if config.get("output_type") == "multiple_choice":
        answer = _choice(row, metric, config)
    elif config.get("output_type") == "generate_until":
        first, read = row["resps"][0][0], row["filtered_resps"][0]
        answer = answer._replace(prediction=_text(read), completion=_text(first))
    return Sample(
        doc_hash=str(row.get("doc_hash") or _digest(row["doc"])),
        prompt_hash=str(row.get("prompt_hash") or _digest(_first_prompt(row))),
        score=math.nan if value is None else float(value),
        gold=answer.gold,
        prediction=answer.prediction,
        completion=answer.completion,
        choice_logprobs=answer.choice_logprobs,
    )


class _Answer(NamedTuple):
    gold: str | None
    prediction: str | None = None
    completion: str | None = None
    choice_logprobs: list[float] | None = None


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _first_prompt(row: Mapping[str, Any]) -> Any:
    arguments = row["arguments"]
    first = next(iter(arguments.values())) if isinstance(arguments, dict) else arguments[0]
    return first["arg_0"] if isinstance(first, dict) else first[0]


def _choice(row: Mapping[str, Any], metric: str, config: Mapping[str, Any]) -> _Answer:
    logprobs = [float(pair[0]) for pair in row["filtered_resps"]]
    texts = _choice_texts(row, str(config.get("target_delimiter", " ")))[: len(logprobs)]
    measure = _LENGTHS.get(metric)
    lengths = [max(measure(text), 1) if measure else 1 for text in texts]
    scaled = [value / length for value, length in zip(logprobs, lengths, strict=True)]
    target = str(row.get("target"))
    # The harness takes digits for the choice's index.
    index = int(target) if target.isdigit() else -1
    return _Answer(
        gold=texts[index] if 0 <= index < len(texts) else target,
        prediction=texts[scaled.index(max(scaled))],
        choice_logprobs=logprobs,
    )


def _choice_texts(row: Mapping[str, Any], delimiter: str) -> list[str]:
    arguments = row["arguments"]
    requests = list(arguments.values()) if isinstance(arguments, dict) else arguments
    pairs = [tuple(r.values()) if isinstance(r, dict) else tuple(r) for r in requests]
    continuations = [str(pair[1]) for pair in pairs]
    # Where the answer fills a gap, the choices stand in the prompts.
    if len(set(continuations)) == 1 and len(pairs) > 1:
        return [str(pair[0]) for pair in pairs]
    return [text.removeprefix(delimiter) for text in continuations]


def _digest(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
