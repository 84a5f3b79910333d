"""Measure the engine against what a user would write (`benchmarks/plain.py`).

``python benchmarks/engine.py part STAGE --size 10m`` measures one stage, alternating between the
engines, and adds it to ``benchmarks/results/engine.json``; ``... merge`` writes the tables of
``engine.md``. Stages: train, choice, generate (in this process), memory and study (processes of
their own, imports included). Times are medians of processor seconds, which other programs on the
machine disturb least; wall-clock seconds stand beside them in the JSON. One thread.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import plain
from calibration import RESULTS, hardware

FILE = RESULTS / "engine.json"
# The harness cuts a larger vocabulary down to the tokenizer's, and compares other numbers then.
SIZES: dict[str, dict[str, int]] = {
    "10m": {
        "hidden_size": 320, "intermediate_size": 864, "num_hidden_layers": 6,
        "num_attention_heads": 5, "vocab_size": 4096,
    },
    "100m": {
        "hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 13,
        "num_attention_heads": 12, "vocab_size": 4096,
    },
}  # fmt: skip
STEPS = {"embedded": 12, "10m": 4, "100m": 2}
BATCH_TOKENS = {"embedded": 1024, "10m": 2048, "100m": 2048}
ITEMS = {"embedded": 48, "10m": 32, "100m": 8}
HARNESS_BATCH = 8
_TEXT = (
    "the cat sat on mat while dog slept near door review was good bad film story river capital "
    "number seven twelve add take away reads writes why because people walked home late evening"
)
WORDS = _TEXT.split()
Calls = dict[str, Callable[[], float]]
"""Engine -> a call that returns how much work it did (tokens, choices, …)."""


def text(rng: np.random.Generator, words: int) -> str:
    """Return random words."""
    return " ".join(rng.choice(WORDS, words))


def rows(n: int, seed: int) -> list[dict[str, str]]:
    """Return training rows whose lengths are skewed as those of real data: median 45 words."""
    rng = np.random.default_rng(seed)
    lengths = np.clip(rng.lognormal(np.log(45), 0.7, n), 8, 230).astype(int)
    answers = rng.integers(1, 25, n)
    return [
        {"prompt": text(rng, int(p)), "completion": text(rng, int(a))}
        for p, a in zip(lengths, answers, strict=True)
    ]


def questions(
    n: int, *, choices: int, words: int, shots: int, seed: int = 1
) -> list[tuple[str, list[str]]]:
    """Return prompts with choices; all prompts begin with the same examples."""
    rng = np.random.default_rng(seed)
    start = "\n\n".join(text(rng, 45) + " so " + text(rng, words) for _ in range(shots))
    gap = "\n\n" if shots else ""
    return [
        (start + gap + text(rng, 30), [" " + text(rng, words) for _ in range(choices)])
        for _ in range(n)
    ]


def model_folder(size: str, root: Path) -> Path:
    """Return the folder of a base; a random Llama with the embedded tokenizer is made there."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    import transferlens.engine

    embedded = Path(transferlens.engine.__file__).parent / "embedded"
    if size == "embedded":
        return embedded
    folder = root / size
    if not folder.exists():
        torch.manual_seed(0)
        special = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
        config = LlamaConfig(
            **SIZES[size], **special, max_position_embeddings=2048, tie_word_embeddings=True
        )
        LlamaForCausalLM(config).save_pretrained(folder)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(embedded / name, folder)
    return folder


def open_base(folder: Path) -> Any:
    """Load a base as a study does."""
    from transferlens.engine.base import load_base
    from transferlens.engine.locate import locate_base
    from transferlens.study import ComputeSpec, StudySpec

    spec = StudySpec.from_dict(
        {"base": str(folder), "sources": ["arithmetic"], "targets": ["arithmetic"]},
        root=Path.cwd(),
    )
    return load_base(locate_base(spec), ComputeSpec(device="cpu", dtype="float32", threads=1))


def matmul_rate(hidden: int) -> float:
    """Return the machine's floating-point operations per second in products of this width."""
    from transferlens.engine.estimate import measure_rate
    from transferlens.study import ComputeSpec

    return measure_rate(ComputeSpec(device="cpu", threads=1), hidden=hidden, seconds=1.0)


def alternate(calls: Calls, repeats: int) -> dict[str, dict[str, float]]:
    """Measure each call in turn, ``repeats`` times; medians."""
    seen: dict[str, list[tuple[float, float, float]]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            wall, cpu = time.perf_counter(), time.process_time()
            work = call()
            spent = time.process_time() - cpu, time.perf_counter() - wall
            seen[name].append((spent[0], spent[1], work))
            print(f"  {name}: {spent[0]:.2f} s (wall {spent[1]:.2f})", flush=True)
    return {
        name: {
            "seconds": statistics.median(v[0] for v in values),
            "wall": statistics.median(v[1] for v in values),
            "work": values[0][2],
        }
        for name, values in seen.items()
    }


def trained(base: Any, size: str) -> Calls:
    """Return training by each engine on the same rows."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from transferlens.engine.batches import optimizer_steps
    from transferlens.engine.train import train_adapter
    from transferlens.study import MethodSpec

    data = rows(200, 0)
    tokens = base.codec.training_rows(
        [r["prompt"] for r in data], [" " + r["completion"] for r in data], max_length=512
    )
    lengths = [len(row.tokens) for row in tokens]
    method = MethodSpec(
        rank=plain.RANK, alpha=plain.ALPHA, learning_rate=plain.RATE, steps=STEPS[size],
        batch_tokens=BATCH_TOKENS[size],
    )  # fmt: skip
    plan = optimizer_steps(
        lengths, batch_tokens=method.batch_tokens, epochs=1, steps=method.steps,
        rng=np.random.default_rng(0),
    )  # fmt: skip
    n = float(sum(lengths[i] for step in plan for i in step))
    used = [data[i] for step in plan for i in step]
    pairs = [{"prompt": r["prompt"], "completion": " " + r["completion"]} for r in used]
    batch = round(len(used) / len(plan))
    tokenizer = AutoTokenizer.from_pretrained(base.name)

    def fresh() -> Any:
        return AutoModelForCausalLM.from_pretrained(base.name, dtype=torch.float32)

    def ours() -> float:
        with tempfile.TemporaryDirectory() as out:
            train_adapter(base, tokens, Path(out), method=method, seed=0)
        return n

    def loop() -> float:
        plain.train_peft(fresh(), tokens, plan)
        return n

    def trl(*, checkpointing: bool = True) -> float:
        with tempfile.TemporaryDirectory() as out:
            plain.train_trl(
                fresh(), tokenizer, pairs, Path(out), steps=len(plan), batch=batch,
                checkpointing=checkpointing,
            )  # fmt: skip
        return n

    return {
        "transferlens": ours,
        "peft loop": loop,
        "trl": trl,
        "trl, no checkpoints": lambda: trl(checkpointing=False),
    }


def operations(base: Any, tokens: float, learnt_share: float) -> float:
    """Return the operations that training needs: no weight gradients but the adapter's."""
    from transferlens.engine.estimate import model_size
    from transferlens.engine.locate import locate_base
    from transferlens.study import MethodSpec, StudySpec

    spec = StudySpec.from_dict(
        {"base": base.name, "sources": ["arithmetic"], "targets": ["arithmetic"]}, root=Path.cwd()
    )
    size = model_size(locate_base(spec), MethodSpec(rank=plain.RANK))
    head = 4 * size.hidden * size.vocabulary * learnt_share
    return tokens * (4 * size.n_body + 6 * size.n_lora + head)


def harness(base: Any, adapter: Path) -> Any:
    """Return lm-evaluation-harness's model with the adapter beside the weights, as it loads it."""
    from lm_eval.models.huggingface import HFLM

    return HFLM(
        pretrained=base.name, peft=str(adapter), batch_size=HARNESS_BATCH, device="cpu",
        dtype="float32",
    )  # fmt: skip


def new_adapter(base: Any, out: Path) -> Path:
    """Train an adapter for one step."""
    from transferlens.engine.train import train_adapter
    from transferlens.study import MethodSpec

    tokens = base.codec.training_rows(["a b"], [" c d"], max_length=64)
    out.mkdir()
    train_adapter(base, tokens, out, method=MethodSpec(steps=1, rank=plain.RANK), seed=0)
    return out


def chosen(base: Any, lm: Any, asked: Sequence[tuple[str, list[str]]]) -> Calls:
    """Return scoring of the same choices by both."""
    from lm_eval.api.instance import Instance

    from transferlens.engine.choices import score_choices
    from transferlens.engine.encode import ChoiceItem

    requests = [
        Instance("loglikelihood", {}, (prompt, choice), 0)
        for prompt, choices in asked
        for choice in choices
    ]
    found: dict[str, np.ndarray] = {}

    def ours() -> float:
        items = []
        for prompt, choices in asked:
            pairs = base.codec.pairs([prompt] * len(choices), choices)
            items.append(ChoiceItem(pairs[0].context, tuple(p.continuation for p in pairs)))
        scores = score_choices(base, items, batch_tokens=8192)
        found["ours"] = np.concatenate([np.array(row) for row in scores])
        return len(requests)

    def products() -> float:
        items = [base.codec.pairs([prompt] * len(choices), choices) for prompt, choices in asked]
        shared = 0
        if len({item[0].context[:32] for item in items}) == 1:
            first, last = (f(item[0].context for item in items) for f in (min, max))
            shared = next(i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b)
        ends = [1 + sum(len(pair.continuation) - 1 for pair in item) for item in items]
        read = [len(item[0].context) - shared + n - 1 for item, n in zip(items, ends, strict=True)]
        bare_products(base, [(shared, 0), (sum(read), sum(ends))])
        return len(requests)

    def theirs() -> float:
        values = [v for v, _ in lm.loglikelihood(requests, disable_tqdm=True)]
        # What is compared must be the same numbers.
        difference = np.abs(found["ours"] - np.array(values)).max()
        if difference > 1e-3:
            msg = f"log-likelihoods differ by {difference}"
            raise AssertionError(msg)
        return len(requests)

    return {"transferlens": ours, "lm-eval": theirs, "products": products}


def bare_products(base: Any, passes: Sequence[tuple[int, int]]) -> None:
    """Multiply by the base's weights as passes of so many tokens and logits do, and nothing else.

    In the last layer, as in the engine, only keys and values are computed for all tokens.
    """
    import torch

    head = base.model.get_output_embeddings().weight
    layers = [
        (name, module.weight)
        for name, module in base.model.named_modules()
        if isinstance(module, torch.nn.Linear) and module.weight is not head
    ]
    last = f"layers.{base.model.config.num_hidden_layers - 1}."
    with torch.inference_mode():
        for tokens, logits in passes:
            for name, weight in layers:
                few = last in name and "k_proj" not in name and "v_proj" not in name
                rows = torch.ones(logits if few else tokens, weight.shape[1])
                torch.nn.functional.linear(rows, weight)
            torch.nn.functional.linear(torch.ones(logits, head.shape[1]), head)


def written(base: Any, lm: Any, n: int) -> Calls:
    """Return generation of the same answers by both."""
    from lm_eval.api.instance import Instance

    from transferlens.engine.batches import to_write_together
    from transferlens.engine.generate import generate

    prompts = [row["prompt"] for row in rows(n, 2)]
    settings = {"until": ["zzz"], "max_gen_toks": 32, "do_sample": False}
    requests = [Instance("generate_until", {}, (prompt, settings), 0) for prompt in prompts]

    def ours() -> float:
        generate(
            base, base.codec.prompts(prompts), max_new_tokens=32, stop=("zzz",), batch_tokens=8192
        )
        return n

    def products() -> float:
        read = [len(prompt) for prompt in base.codec.prompts(prompts)]
        for batch in to_write_together([n + 32 for n in read], max_tokens=8192):
            steps = [(len(batch), len(batch))] * 31
            bare_products(base, [(sum(read[i] for i in batch), len(batch)), *steps])
        return n

    def theirs() -> float:
        lm.generate_until(requests, disable_tqdm=True)
        return n

    return {"transferlens": ours, "lm-eval": theirs, "products": products}


def loaded(base: Any, adapter: Path) -> Calls:
    """Return getting ready to answer by both; the harness loads a base with each adapter."""
    from transferlens.engine.adapters import with_merged_adapter

    def ours() -> float:
        with with_merged_adapter(base.model, adapter):
            return 1

    def theirs() -> float:
        harness(base, adapter)
        return 1

    return {"transferlens": ours, "lm-eval": theirs}


CHOICE_TASKS = {
    "4 choices of 12 words, 0-shot": {"choices": 4, "words": 12, "shots": 0},
    "2 labels of a word, 0-shot": {"choices": 2, "words": 1, "shots": 0},
    "2 labels of a word, 5-shot": {"choices": 2, "words": 1, "shots": 5},
    "4 choices of 12 words, 5-shot": {"choices": 4, "words": 12, "shots": 5},
}


def measure(stage: str, size: str, repeats: int, root: Path) -> dict[str, Any]:
    """Measure a stage that runs in this process."""
    from transferlens.engine.adapters import with_merged_adapter

    base = open_base(model_folder(size, root))
    report: dict[str, Any] = {}
    if stage == "train":
        hidden = base.model.config.hidden_size
        rates = [matmul_rate(hidden)]
        report["training"] = alternate(trained(base, size), repeats)
        rates.append(matmul_rate(hidden))
        ours = report["training"]["transferlens"]
        data = rows(200, 0)
        read = base.codec.training_rows(
            [r["prompt"] for r in data], [" " + r["completion"] for r in data], max_length=512
        )
        learnt = sum(row.n_learnt for row in read) / sum(len(row.tokens) for row in read)
        done = operations(base, ours["work"], learnt)
        ours["share of matrix rate"] = done / ours["seconds"] / max(rates)
        report["gflops"] = max(rates) / 1e9
        return report
    adapter = new_adapter(base, root / "adapter")
    report["loading an adapter"] = alternate(loaded(base, adapter), repeats)
    lm = harness(base, adapter)
    with with_merged_adapter(base.model, adapter):
        if stage == "generate":
            calls = written(base, lm, ITEMS[size])
            return {**report, "generation, 32 tokens": alternate(calls, repeats)}
        for name, kind in CHOICE_TASKS.items():
            calls = chosen(base, lm, questions(ITEMS[size], **kind))
            report[name] = alternate(calls, repeats)
    return report


def memory(size: str, root: Path) -> dict[str, Any]:
    """Return the peak memory of training by each engine, each in a process of its own."""
    folder = model_folder(size, root)
    peaks = {}
    for name in ("transferlens", "peft loop", "trl", "trl, no checkpoints"):
        child = [sys.executable, __file__, "peak", name, "--size", size, "--folder", str(folder)]
        done = subprocess.run(child, check=True, stdout=subprocess.PIPE, text=True)
        peaks[name] = {"megabytes": float(done.stdout.splitlines()[-1])}
        print(f"  {name}: {peaks[name]['megabytes']:.0f} MB", flush=True)
    return {"peak memory of training": peaks}


def peak(name: str, size: str, folder: Path) -> None:
    """Train with one engine and print the peak memory of this process in megabytes."""
    base = open_base(folder)
    call = trained(base, size)[name]
    if name != "transferlens":
        # The others load a model of their own.
        base.model.to("meta")
    call()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def study(size: str, n: int, root: Path) -> dict[str, Any]:
    """Run N adapters on N tasks by both ways, each command in its own process."""
    folder = model_folder(size, root)
    data = root / "data"
    data.mkdir(exist_ok=True)
    for i in range(n):
        write_task(data, i)
    # The rows have about 50 tokens: both train on the same number of rows.
    steps, batch = 20, BATCH_TOKENS[size] // 50
    spec = {
        "base": str(folder),
        "tasks": {
            f"t{i}": {
                "data": {"train": f"t{i}-train.jsonl", "test": f"t{i}-test.jsonl"},
                "prompt": "{{ prompt }}", "choices": "choices", "label": "gold",
            }
            for i in range(n)
        },
        "sources": [f"t{i}" for i in range(n)], "targets": [f"t{i}" for i in range(n)],
        "method": {"steps": steps, "batch_tokens": BATCH_TOKENS[size]},
        "compute": {"threads": 1},
    }  # fmt: skip
    (data / "study.yaml").write_text(json.dumps(spec), encoding="utf-8")
    ours = [
        sys.executable,
        "-m",
        "transferlens",
        "run",
        str(data / "study.yaml"),
        "-o",
        str(root / "out"),
    ]
    spent = {"transferlens": timed([ours])}
    names = ",".join(f"bench{i}" for i in range(n))
    script = []
    for i in range(n):
        out = str(root / f"adapter{i}")
        train = [
            sys.executable,
            plain.__file__,
            folder,
            data / f"t{i}-train.jsonl",
            out,
            steps,
            batch,
        ]
        evaluate = [
            sys.executable, "-m", "lm_eval", "run", "--model", "hf", "--model_args",
            f"pretrained={folder},peft={out},dtype=float32", "--tasks", names, "--include_path",
            data, "--device", "cpu", "--batch_size", HARNESS_BATCH, "--output_path", out,
        ]  # fmt: skip
        script += [[str(word) for word in command] for command in (train, evaluate)]
    spent["script"] = timed(script)
    return {f"study of {n} adapters, {n} tasks": spent}


def write_task(folder: Path, number: int) -> None:
    """Write the rows of a task, for both, and the task's file for the harness."""
    rng = np.random.default_rng(number)
    for part, (split, n) in enumerate((("train", 400), ("test", 60))):
        lines = []
        asked = questions(n, choices=4, words=6, shots=0, seed=2 * number + part)
        for prompt, choices in asked:
            gold = int(rng.integers(4))
            line = {"prompt": prompt, "choices": [c.strip() for c in choices], "gold": gold}
            line["completion"] = line["choices"][gold]
            lines.append(json.dumps(line) + "\n")
        (folder / f"t{number}-{split}.jsonl").write_text("".join(lines), encoding="utf-8")
    card = {
        "task": f"bench{number}", "dataset_path": "json", "test_split": "test",
        "dataset_kwargs": {"data_files": {"test": str(folder / f"t{number}-test.jsonl")}},
        "output_type": "multiple_choice", "doc_to_text": "{{prompt}}", "doc_to_target": "gold",
        "doc_to_choice": "{{choices}}", "metric_list": [{"metric": "acc"}],
    }  # fmt: skip
    (folder / f"bench{number}.yaml").write_text(json.dumps(card), encoding="utf-8")


def timed(commands: Sequence[Sequence[str]]) -> dict[str, float]:
    """Run commands one after another; seconds of processes and of the clock."""
    offline = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    before, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    for command in commands:
        subprocess.run(command, check=True, env={**os.environ, **offline}, capture_output=True)
        print(f"  {command[1:4]} {time.perf_counter() - wall:.0f} s", flush=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": cpu, "wall": time.perf_counter() - wall, "work": float(len(commands))}


def store(size: str, report: dict[str, Any]) -> None:
    """Add measurements to the file, in the place of older ones of the same name."""
    known = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    known.setdefault(size, {}).update(report)
    known["hardware"] = {**hardware(), "load": round(os.getloadavg()[0], 1)}
    FILE.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")


def markdown(report: dict[str, Any]) -> str:
    """Lay the measurements out as one table."""
    machine = report["hardware"]
    about = (
        f"{machine['cpu']}, one thread, single precision. Processor seconds, medians of "
        "alternating runs; `times` says how many times as fast the engine is, and `of the limit` "
        "how large a part of its time the bare matrix products of the same sizes take, measured "
        "in turn with it. Both answer with the adapter loaded, the harness in batches of "
        f"{HARNESS_BATCH}; whole studies include processes and imports."
    )
    lines = [
        "# The engine against what a user would write", "",
        about, "",
        "| base | what | other | its s | ours s | times | of the limit |",
        "|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for size, parts in report.items():
        for what, engines in parts.items() if size != "hardware" else ():
            ours = engines.get("transferlens") if isinstance(engines, dict) else None
            if ours is None or "seconds" not in ours:
                continue
            bare = engines.get("products")
            share = f"{bare['seconds'] / ours['seconds']:.2f}" if bare else "–"
            lines += [
                f"| {size} | {what} | {name} | {other['seconds']:.2f} | {ours['seconds']:.2f} "
                f"| {other['seconds'] / ours['seconds']:.2f} | {share} |"
                for name, other in engines.items()
                if name not in {"transferlens", "products"}
            ]
    head = "| base | tokens/s in training | share of matrix rate | peak memory, MB |"
    lines += ["", head, "|---|---|---|---|"]
    for size, parts in report.items():
        if "training" in parts:
            ours = parts["training"]["transferlens"]
            peaks = parts.get("peak memory of training", {})
            listed = ", ".join(f"{name} {p['megabytes']:.0f}" for name, p in peaks.items())
            lines.append(
                f"| {size} | {ours['work'] / ours['seconds']:.0f} "
                f"| {ours['share of matrix rate']:.2f} | {listed or '–'} |"
            )
    return "\n".join([*lines, ""])


def main() -> None:
    """Measure a part, or write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["part", "merge", "peak"])
    parser.add_argument("stage", nargs="?")
    parser.add_argument("--size", default="10m", choices=["embedded", *SIZES])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--adapters", type=int, default=2)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    if options.what == "peak":
        peak(options.stage, options.size, options.folder)
        return
    if options.what == "part":
        with tempfile.TemporaryDirectory() as name:
            root = Path(name)
            if options.stage == "memory":
                report = memory(options.size, root)
            elif options.stage == "study":
                report = study(options.size, options.adapters, root)
            else:
                report = measure(options.stage, options.size, options.repeats, root)
        store(options.size, report)
        return
    report = json.loads(FILE.read_text(encoding="utf-8"))
    FILE.with_suffix(".md").write_text(markdown(report), encoding="utf-8")


if __name__ == "__main__":
    main()
