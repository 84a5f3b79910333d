"""A transfer passport as a model card of the Hugging Face hub: Markdown behind YAML."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from transferlens import __version__
from transferlens.errors import ResultsError
from transferlens.explain.amounts import decimals, scale_and_unit
from transferlens.report.cite import citations
from transferlens.report.claim import counted
from transferlens.report.passport import AnswerHabit, Passport, PassportCell
from transferlens.report.text import shown
from transferlens.results import TransferStudy, format_value
from transferlens.results.files import write_atomically

__all__ = ["code_span", "model_card", "write_card"]

# An id of the hub: it may not be a path of the machine on which the study ran.
_HUB = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_SAFETY = {
    "own": "its own task",
    "helps": "helps",
    "safe": "safe",
    "harms": "harms",
    "unknown": "not known",
}


def model_card(found: Passport, study: TransferStudy, *, licence: str = "") -> str:
    """Return the card of an adapter as the hub reads it.

    Parameters
    ----------
    found
        What is known of it.
    study
        For the citation.
    licence
        Identifier of the adapter's licence, such as ``apache-2.0``; without it the card says
        that whoever publishes the adapter has to name one.
    """
    front = yaml.safe_dump(
        _metadata(found, licence), sort_keys=False, allow_unicode=True, width=1_000
    )
    body = "\n".join(_body(found, study, licence))
    return f"---\n{front}---\n\n{body}\n"


def write_card(card: str, path: str | Path) -> Path:
    """Write a card to a file, or as README.md into a folder that exists.

    Raises
    ------
    ResultsError
        The system refuses to write.
    """
    file = Path(path)
    file = file / "README.md" if file.is_dir() else file
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, card.encode("utf-8", "replace"))
    except OSError as error:
        msg = f"{file}: cannot write the card ({error.strerror or error})"
        raise ResultsError(msg) from None
    return file


def code_span(text: object, most: int = 120) -> str:
    """Return text from data as a code span that Markdown, HTML and tables leave alone."""
    line = " ".join(shown(text, most).split()) or " "
    longest = max((len(run) for run in re.findall("`+", line)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if line[0] == "`" or line[-1] == "`" else ""
    # A pipe ends a cell even inside a code span; in HTML blocks `<` would still be one.
    return f"{fence}{pad}{line}{pad}{fence}".replace("|", "\\|")


def _plain(text: object) -> str:
    return " ".join(shown(text, 120).split())


def _hub_id(name: str) -> str:
    """Return a name that can be one of the hub; empty for a path, or the embedded base."""
    known = _HUB.fullmatch(name) and name != "embedded" and not Path(name).exists()
    return name if known else ""


def _metadata(found: Passport, licence: str) -> dict[str, Any]:
    datasets = [name for name in found.datasets if _hub_id(name)]
    front: dict[str, Any] = {}
    if licence:
        front["license"] = licence
    base = "" if found.base_is_local else _hub_id(found.base)
    if base:
        front["base_model"] = base
    library = "transformers" if _is_tuned(found) else "peft"
    front |= {"library_name": library, "pipeline_tag": "text-generation"}
    if datasets:
        front["datasets"] = datasets
    front["tags"] = ["transferlens", "transfer-passport", *_method_tag(found)]
    front["model-index"] = [
        {
            "name": _plain(f"{found.study}-{found.source.name}"),
            "results": [_result(cell, found.confidence) for cell in found.cells],
        }
    ]
    return front


def _is_tuned(found: Passport) -> bool:
    """Whether it is weights of the base itself, which peft cannot load."""
    return dict(found.settings).get("name") in {"full", "bitfit"}


def _method_tag(found: Passport) -> list[str]:
    name = dict(found.settings).get("name", "")
    return [name] if re.fullmatch(r"[a-z0-9-]+", name) else []


def _result(cell: PassportCell, confidence: float) -> dict[str, Any]:
    dataset: dict[str, Any] = {
        "name": _plain(cell.target),
        "type": _hub_id(cell.dataset) or _plain(cell.target),
    }
    if cell.subset:
        dataset["config"] = _plain(cell.subset)
    dataset["split"] = _plain(cell.split)
    metrics = [
        {
            "type": _plain(cell.metric),
            "value": round(cell.score, 6),
            "name": f"{_plain(cell.metric)} ({_plain(cell.unit)})",
        }
    ]
    if not math.isnan(cell.gain):
        name = "gain over the untuned base"
        if not math.isnan(cell.low):
            name += f", {confidence:.0%} interval [{cell.low:+.4f}, {cell.high:+.4f}]"
        metrics.append({"type": "gain", "value": round(cell.gain, 6), "name": name})
    task = {"type": "text-generation", "name": _plain(cell.family or cell.target)}
    return {"task": task, "dataset": dataset, "metrics": metrics}


def _body(found: Passport, study: TransferStudy, licence: str) -> Iterator[str]:
    yield f"# Transfer passport of {code_span(found.source.name)}"
    yield ""
    base = code_span(found.base) if found.base else "a base model that is not known"
    kind = "Weights" if _is_tuned(found) else "An adapter"
    yield (
        f"{kind} for {base}, trained on {code_span(found.source.name)}"
        f"{_rows(found)} and tested on {counted(len(found.cells), 'task')} against the untuned "
        f"base in the study {code_span(found.study)}. "
        f"{counted(len(found.seeds), 'training run')} (seed"
        f"{'s' if len(found.seeds) > 1 else ''} {', '.join(map(str, found.seeds))})."
    )
    yield from _transfer(found)
    yield from _safe_to_load(found)
    yield from _fingerprint(found)
    yield from _training(found, licence)
    yield from _loading(found)
    yield from _citation(found, study)


def _rows(found: Passport) -> str:
    return f" ({counted(found.source.n_rows, 'row')})" if found.source.n_rows else ""


def _transfer(found: Passport) -> Iterator[str]:
    yield from ("", "## What it helps and harms", "")
    if not found.cells:
        yield "It has not been tested on any task."
        return
    for safety, words in (("helps", "Helps significantly"), ("harms", "Harms significantly")):
        cells = [cell for cell in found.cells if cell.safety == safety]
        cells.sort(key=lambda cell: -abs(cell.gain))
        yield f"- **{words}**: {'; '.join(map(_effect, cells)) or 'no other task'}."
    yield ""
    head = ["task", "metric", "base", "adapter", "gain", "interval", "adjusted p", "loading it"]
    yield from _table(head, [_cell_row(cell) for cell in found.cells])
    yield ""
    yield (
        f"Gains are above 0 where the adapter is better; {found.confidence:.0%} intervals; "
        f"significant: p <= {found.level:g}, adjusted over all adapters and tasks of the study "
        "(false-discovery rate)."
    )
    for note in found.notes:
        yield f"- {_escaped(note)}"


def _escaped(text: str) -> str:
    """Return a sentence of ours that may hold names from data, with Markdown's signs escaped."""
    line = " ".join(shown(text, 600).split())
    return re.sub(r"([\\*_\[\]<>#|~$&!`])", r"\\\1", line)


def _effect(cell: PassportCell) -> str:
    return f"{code_span(cell.target)} {_gain(cell)}{_span(cell)}"


def _gain(cell: PassportCell) -> str:
    scale, unit = scale_and_unit(cell.unit)
    return f"{format_value(scale * cell.gain, signed=True)} {_escaped(unit)}"


def _span(cell: PassportCell) -> str:
    ends = _interval(cell)
    return f" ({ends})" if ends else ""


def _interval(cell: PassportCell) -> str:
    scale, _ = scale_and_unit(cell.unit)
    if math.isnan(cell.low) or math.isnan(cell.high):
        return ""
    low, high = (format_value(scale * end, signed=True) for end in (cell.low, cell.high))
    return f"{low} to {high}"


def _cell_row(cell: PassportCell) -> list[str]:
    scale, _ = scale_and_unit(cell.unit)
    scores = (format_value(scale * v, signed=False) for v in (cell.base_score, cell.score))
    p = "not tested" if math.isnan(cell.p_adjusted) else f"{cell.p_adjusted:.2g}"
    gain = "-" if math.isnan(cell.gain) else _gain(cell)
    metric = code_span(cell.metric)
    ends = _interval(cell) or "-"
    return [code_span(cell.target), metric, *scores, gain, ends, p, _SAFETY[cell.safety]]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    yield from (f"| {' | '.join(row)} |" for row in rows)


def _safe_to_load(found: Passport) -> Iterator[str]:
    yield from ("", "## Where it is safe to load", "")
    yield (
        "Safe: no significant harm, and the interval excludes a loss of "
        f"{found.margin:g} points, so that such a harm would have been seen. Where neither harm "
        "nor safety is shown, more examples or seeds are needed; where the base has no more than "
        "that to lose, no harm can show."
    )
    yield ""
    for words, kinds in (
        ("Safe", ("own", "helps", "safe")),
        ("Not safe", ("harms",)),
        ("Not known", ("unknown",)),
    ):
        names = [code_span(c.target) for c in found.cells if _kind(c, found.margin) in kinds]
        yield f"- **{words}**: {', '.join(names) or 'none'}."


def _kind(cell: PassportCell, margin: float) -> str:
    """Return the safety; an own task is safe only where it does not lose."""
    if cell.safety != "own":
        return cell.safety
    scale, _ = scale_and_unit(cell.unit)
    return "own" if scale * cell.low > -margin else "unknown"


def _fingerprint(found: Passport) -> Iterator[str]:
    yield from ("", "## Fingerprint: length and labels", "")
    lines = [*_training_habits(found), *map(_habit_line, found.habits)]
    yield from lines or ["Not known: the study holds no training rows and no answers."]


def _training_habits(found: Passport) -> Iterator[str]:
    if found.lengths is not None:
        middle, low, high = found.lengths
        yield (
            f"- Training outputs: {_tokens(middle)} (median; 80 % have {decimals(low, 0)} to "
            f"{decimals(high, 0)})."
        )
    if found.labels:
        shares = ", ".join(f"{code_span(label)} {share:.0%}" for label, share in found.labels)
        yield f"- Labels of the training rows: {shares}."


def _habit_line(habit: AnswerHabit) -> str:
    target = code_span(habit.target)
    if habit.kind == "length":
        return (
            f"- On {target} its answers have {_tokens(habit.adapter)} (median), the "
            f"base's {decimals(habit.base, 0)}."
        )
    return (
        f"- On {target} it answers {code_span(habit.label)} in {habit.adapter:.0%} of cases, the "
        f"base in {habit.base:.0%}; that is the right answer in {habit.gold:.0%}."
    )


def _tokens(value: float) -> str:
    return counted(round(value), "token")


def _training(found: Passport, licence: str) -> Iterator[str]:
    yield from ("", "## How it was trained", "")
    if found.settings:
        rows = [[code_span(name), code_span(value)] for name, value in found.settings]
        yield from _table(["setting", "value"], rows)
    else:
        yield "Not known: the adapter was trained elsewhere."
    yield ""
    data = code_span(found.licence) if found.licence else "not known"
    yield f"Licence of the training data: {data}. {_licence_words(licence)}"


def _licence_words(licence: str) -> str:
    if licence:
        return f"Licence of the adapter: {code_span(licence)}."
    return (
        "No licence is named for the adapter: whoever publishes it has to; data and base model "
        "may bind it."
    )


def _loading(found: Passport) -> Iterator[str]:
    yield from ("", "## How to load it", "")
    base = json.dumps(found.base or "BASE-MODEL")
    folder = json.dumps(found.folders[0] if found.folders else "ADAPTER-FOLDER")
    embedded, tuned = found.base == "embedded", _is_tuned(found)
    if embedded:
        yield from ("The base is the small one that comes with the package transferlens.", "")
        base = 'str(files("transferlens") / "engine" / "embedded")'
    yield from (
        "```python",
        *(["from importlib.resources import files", ""] if embedded else []),
        *([] if tuned else ["from peft import PeftModel"]),
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        *(["", "from transferlens.engine.adapters import load_adapter"] if tuned else []),
        "",
        f"base = {base}",
        "tokenizer = AutoTokenizer.from_pretrained(base)",
        "model = AutoModelForCausalLM.from_pretrained(base)",
        f"model = {'load_adapter' if tuned else 'PeftModel.from_pretrained'}(model, {folder})",
        "```",
    )
    if len(found.folders) > 1:
        yield ""
        yield f"Adapters of all seeds: {', '.join(map(code_span, found.folders))}."


def _citation(found: Passport, study: TransferStudy) -> Iterator[str]:
    known = citations(found.study, study, made=None)
    yield from ("", "## How to cite", "", "```bibtex")
    for reference in (known.method, known.study, known.tool):
        # A line of three backticks would end the block.
        yield shown(reference.bibtex, 4_000).replace("```", "'''")
    yield from ("```", "", f"Card made with TransferLens {__version__}.")
