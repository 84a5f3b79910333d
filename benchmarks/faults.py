"""Does a kill cost more than what was being done? Studies that are killed until they are finished.

``python benchmarks/faults.py`` runs a small study again and again, each process in a process group
of its own, kills the group (SIGKILL) at a random moment, looks at the folder, and goes on with the
same study in the same folder until it is finished. Then everything in it must be bit for bit what
an undisturbed run leaves. It writes ``benchmarks/results/faults.json`` and ``faults.md``; the test
suite runs it with a few kills.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import transferlens as tl

RESULTS = Path(__file__).parent / "results"
STUDY: dict[str, Any] = {
    "name": "faults",
    "base": "base",
    "tasks": {
        "mood": {
            "prompt": "Review: {{ text }} Mood:",
            "choices": ["good", "bad"],
            "label": "mood",
            "data": {"train": "mood-train.jsonl", "test": "mood-test.jsonl"},
        },
        "sums": {
            "prompt": "{{ a }} + {{ b }} =",
            "completion": "{{ a + b }}",
            "label": "a + b",
            "metric": "numeric_match",
            "max_new_tokens": 2,
            "data": {"train": "sums-train.jsonl", "test": "sums-test.jsonl"},
        },
    },
    "sources": ["mood", "sums"],
    "targets": ["mood", "sums"],
    "seeds": [0, 1],
    "method": {"rank": 2, "steps": 3, "batch_tokens": 128},
    "compute": {"device": "cpu", "threads": 1},
}


def prepare(place: Path) -> None:
    """Write the rows of both tasks and a random base model of 70,000 weights."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    import transferlens.engine

    embedded = Path(transferlens.engine.__file__).parent / "embedded"
    tokenizer = AutoTokenizer.from_pretrained(embedded)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2}
    config = LlamaConfig(
        vocab_size=len(tokenizer), max_position_embeddings=128, tie_word_embeddings=True,
        **sizes, **heads,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(place / "base")
    tokenizer.save_pretrained(place / "base")
    for split, start in (("train", 0), ("test", 40)):
        mood = [{"text": f"Film {start + i}.", "mood": ("good", "bad")[i % 2]} for i in range(12)]
        sums = [{"a": start + i, "b": i % 7} for i in range(12)]
        for name, rows in (("mood", mood), ("sums", sums)):
            text = "".join(json.dumps(row) + "\n" for row in rows)
            (place / f"{name}-{split}.jsonl").write_text(text, encoding="utf-8")


def in_child(work: Callable[[], Any]) -> Any:
    """Compute something in a process of its own: this one must stay without threads to fork."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        with os.fdopen(writer, "w") as pipe:
            json.dump(work(), pipe)
            pipe.flush()
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    return json.loads(answer)


def begin(folder: Path) -> int:
    """Run the study in a process that leads a group of its own; returns its id."""
    child = os.fork()
    if child:
        return child
    os.setsid()
    try:
        tl.run(tl.StudySpec.from_dict(STUDY, root=folder.parent), folder, log="quiet")
    except BaseException as error:  # noqa: BLE001 - a child must not return into its parent's loop
        print(repr(error), file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)


def look(folder: Path) -> dict[str, Any]:
    """Return what is in the folder: damage, what is finished, what is unfinished, what it says."""
    from transferlens.results import check_study

    state: dict[str, Any] = {"wrong": [], "finished": {}, "unfinished": [], "done": 0}
    if not (folder / "plan.json").exists():
        return state
    checked = check_study(folder)
    state["wrong"] = [f"{item.path.name} {item.problem}" for item in checked.wrong]
    # A process that dies between the plan and the texts has lost no text.
    state["wrong"] = [line for line in state["wrong"] if "the texts of" not in line]
    state["done"] = checked.n_done
    for file in sorted(folder.rglob("*")):
        place = str(file.relative_to(folder))
        if ".tmp-" in place:
            state["unfinished"].append(place)
        elif file.is_file() and place.startswith(("cells/", "adapters/", "examples/")):
            state["finished"][place] = [file.stat().st_mtime_ns, file.stat().st_ino]
    return state


def content(folder: Path) -> dict[str, str]:
    """Return a hash of every answer and of the bytes of every adapter."""
    import hashlib

    study = tl.open_study(folder)
    rows = study.predictions.sort("source", "target", "seed", "example").collect()
    answers = {"answers": hashlib.sha256(rows.write_json().encode()).hexdigest()}
    for file in sorted((folder / "adapters").glob("[!.]*/adapter_model.safetensors")):
        answers[file.parent.name] = hashlib.sha256(file.read_bytes()).hexdigest()
    return answers


def finish(
    folder: Path, n_processes: int, patience: float, moments: random.Random, room: int
) -> Counter[str]:
    """Kill a study until it is finished, at most ``room`` times; returns what was seen."""
    seen: Counter[str] = Counter()
    before = look_away(folder)
    while True:
        spare = seen["kills"] >= room
        deadlines = {
            begin(folder): time.monotonic() + (1e9 if spare else moments.uniform(0, patience))
            for _ in range(n_processes)
        }
        ended = [_end(child, deadline) for child, deadline in sorted(
            deadlines.items(), key=lambda pair: pair[1])]  # fmt: skip
        kills = sum(status == -signal.SIGKILL for status in ended)
        after = look_away(folder)
        seen["kills"] += kills
        seen["kills at work"] += kills if after["unfinished"] else 0
        seen["errors"] += sum(status > 0 for status in ended)
        seen["damaged"] += len(after["wrong"])
        # What was finished before is there, and nobody has written it anew.
        seen["lost"] += sum(after["finished"].get(k) != v for k, v in before["finished"].items())
        before = after
        if 0 in ended:
            return seen


def look_away(folder: Path) -> dict[str, Any]:
    """Look into the folder from another process."""
    found: dict[str, Any] = in_child(lambda: look(folder))
    return found


def _end(child: int, deadline: float) -> int:
    """Wait for a process, kill its group when its time is over, and return how it ended."""
    while time.monotonic() < deadline:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    try:
        os.killpg(child, signal.SIGKILL)
    except ProcessLookupError:
        # Killed before it had made its own group.
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def campaign(kills: int, seconds: float, seed: int) -> dict[str, Any]:
    """Kill studies by one, two and three processes in turn until the kills or the time are used."""
    began = time.monotonic()
    moments = random.Random(seed)  # noqa: S311 - moments to kill at, not secrets
    rows: dict[int, Counter[str]] = {1: Counter(), 2: Counter(), 3: Counter()}
    with tempfile.TemporaryDirectory() as place:
        in_child(lambda: prepare(Path(place)))
        whole = Path(place) / "undisturbed"
        began = time.monotonic()
        status = _end(begin(whole), time.monotonic() + 1e9)
        if status:
            msg = f"the undisturbed run has failed with {status}"
            raise SystemExit(msg)
        took = time.monotonic() - began
        wanted = in_child(lambda: content(whole))
        number = 0
        while _killed(rows) < kills and time.monotonic() - began < seconds:
            processes = 1 + number % 3
            folder = Path(place) / f"study{number}"
            # Few kills are spread over one, two and three processes.
            room = min(kills - _killed(rows), -(-kills // 3))
            seen = finish(folder, processes, took, moments, room)
            found = in_child(lambda folder=folder: content(folder))
            seen["studies"] = 1
            seen["different"] = int(found != wanted)
            rows[processes] += seen
            shutil.rmtree(folder)
            number += 1
    return {
        "kills": _killed(rows),
        "seconds": round(time.monotonic() - began, 1),
        "undisturbed_seconds": round(took, 2),
        "seed": seed,
        "cells": (1 + len(STUDY["sources"]) * len(STUDY["seeds"])) * len(STUDY["targets"]),
        "machine": f"{platform.machine()} with {os.cpu_count()} processors, "
        f"load {os.getloadavg()[0]:.1f}",
        "by_processes": {
            str(number): {name: row[name] for name in SEEN} for number, row in rows.items() if row
        },
    }


def _killed(rows: dict[int, Counter[str]]) -> int:
    return sum(row["kills"] for row in rows.values())


SEEN = ("studies", "kills", "kills at work", "damaged", "lost", "errors", "different")
PAGE = """# Kills

`python benchmarks/faults.py`: {kills} kills (SIGKILL to the process group, at uniformly random
moments, seed {seed}) in {seconds:.0f} s on {machine}. Each study has {cells} cells and took
{undisturbed_seconds:.1f} s undisturbed. Every process of it is killed at a moment of its own, and
the study continued until it is finished, then compared with the undisturbed one: every answer, and
the bytes of every adapter.

| processes at once | studies | kills | of which with unfinished files left | damaged files \
| finished files lost or redone | errors | different results |
|--:|--:|--:|--:|--:|--:|--:|--:|
"""


def table(found: dict[str, Any]) -> str:
    """Return the figures as a page."""
    lines = [
        f"| {processes} | {' | '.join(str(row[name]) for name in SEEN)} |\n"
        for processes, row in found["by_processes"].items()
    ]
    return PAGE.format(**found) + "".join(lines)


def main() -> None:
    """Kill, compare, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=7200.0, help="begin no study after that")
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    # Loaded once for all processes, which are forked: a kill costs no import.
    import peft  # noqa: F401
    import torch
    import transformers  # noqa: F401

    import transferlens.engine.base
    import transferlens.engine.evaluate
    import transferlens.engine.plan
    import transferlens.engine.train  # noqa: F401

    torch.set_num_threads(1)
    found = campaign(options.kills, options.seconds, options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "faults.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (options.out / "faults.md").write_text(table(found), encoding="utf-8")
    print(table(found))


if __name__ == "__main__":
    main()
