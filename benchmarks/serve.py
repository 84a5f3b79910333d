"""How much does serving cost beside the model? Routing time, and throughput of mixed adapters.

``python benchmarks/serve.py DIR`` takes a finished study such as that of ``make demo`` and starts
its endpoint on loopback. Eight clients (the ``openai`` package) ask at once, each request naming
one of four adapters in turn; against that stand the same prompts written as one batch by one
adapter with merged weights, in this process, without any endpoint. Both are measured in turns.
Routing is timed alone, prompt by prompt. It writes ``benchmarks/results/serve.json`` and
``serve.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from calibration import RESULTS, hardware

CLIENTS, N_REQUESTS, N_TOKENS, N_ADAPTERS = 8, 64, 32, 4


def prompts_of(study: Any, names: list[str]) -> list[str]:
    """Return prompts of the adapters' own tasks in turn."""
    texts = {name: study.example_texts(name)["prompt"].to_list() for name in names}
    return [texts[names[i % len(names)]][i // len(names)] for i in range(N_REQUESTS)]


def routing(study: Any, prompts: list[str]) -> dict[str, float]:
    """Time the router on each prompt; milliseconds."""
    from transferlens.serve import fit_router

    router = fit_router(study)
    router(prompts[0])
    times = []
    for prompt in prompts:
        start = time.perf_counter()
        router(prompt)
        times.append(1000 * (time.perf_counter() - start))
    times.sort()
    return {
        "median_ms": round(statistics.median(times), 2),
        "p95_ms": round(times[int(0.95 * len(times))], 2),
    }


_OWN = threading.local()


def ask(port: int, model: str, prompt: str) -> int:
    """Ask for one completion; returns the tokens that were written. A thread is one client."""
    from openai import OpenAI

    if not hasattr(_OWN, "client"):
        _OWN.client = OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0)
    answer = _OWN.client.completions.create(
        model=model, prompt=prompt, max_tokens=N_TOKENS, temperature=0
    )
    return int(answer.usage.completion_tokens)


def ask_all(port: int, models: list[str], prompts: list[str]) -> int:
    """Ask for all completions, eight at a time; returns the tokens that were written."""
    with ThreadPoolExecutor(CLIENTS) as pool:
        return sum(pool.map(ask, [port] * len(prompts), models, prompts))


def rate(work: Callable[[], int]) -> float:
    """Return tokens per second."""
    start = time.perf_counter()
    tokens = work()
    return tokens / (time.perf_counter() - start)


def throughput(folder: Path, names: list[str], prompts: list[str], repeats: int) -> dict[str, Any]:
    """Measure served and plain throughput in turns."""
    import uvicorn

    from transferlens.engine.adapters import with_merged_adapter
    from transferlens.engine.generate import generate
    from transferlens.serve.app import make_app
    from transferlens.serve.model import open_served

    served = open_served(folder)
    app = make_app(served, api_key=None, concurrency=64, max_rows=CLIENTS, max_body=2**20)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    port = server.servers[0].sockets[0].getsockname()[1]
    base = served.pool.base
    tokens = base.codec.prompts(prompts)
    one = served.skills[names[0]].folder

    # Clients in a process of their own: in this one they would take turns with the model.
    clients = ProcessPoolExecutor(1, mp_context=get_context("spawn"))

    def served_tokens(models: list[str]) -> int:
        return clients.submit(ask_all, port, models, prompts).result()

    def plain_tokens() -> int:
        written = 0
        with with_merged_adapter(base.model, one):
            for at in range(0, len(tokens), CLIENTS):
                batch = tokens[at : at + CLIENTS]
                done = generate(base, batch, max_new_tokens=N_TOKENS, stop=(), batch_tokens=8192)
                written += sum(text.n_tokens for text in done)
        return written

    mixed = [names[i % len(names)] for i in range(len(prompts))]
    ways = {
        "served, four adapters": lambda: served_tokens(mixed),
        "served, one adapter": lambda: served_tokens([names[0]] * len(prompts)),
        "one adapter, merged, batches of eight, no endpoint": plain_tokens,
    }
    found: dict[str, list[float]] = {name: [] for name in ways}
    for work in ways.values():
        work()
    for _ in range(repeats):
        for name, work in ways.items():
            found[name].append(rate(work))
    server.should_exit = True
    thread.join(timeout=10)
    return {name: round(statistics.median(values), 1) for name, values in found.items()}


def page_of(found: dict[str, Any]) -> str:
    """Return the results as a page."""
    rates = found["tokens_per_second"]
    batch = rates["one adapter, merged, batches of eight, no endpoint"]
    how = (
        f"By `python benchmarks/serve.py DIR` on {found['study']}: {CLIENTS} clients, {N_REQUESTS} "
        f"requests of up to {N_TOKENS} tokens, medians of {found['repeats']} runs in turns. The "
        "clients are threads of a process of their own, and are started anew in each run."
    )
    routed = "Routing adds {median_ms} ms per request (median; 95 % below {p95_ms} ms; goal 5 ms)."
    lines = [
        "# Serving",
        "",
        "; ".join(f"{name}: {value}" for name, value in found["hardware"].items()) + ".",
        how,
        "",
        "| what | tokens per second | ratio |",
        "|---|---|---|",
        *(f"| {name} | {value} | {value / batch:.2f} |" for name, value in rates.items()),
        "",
        routed.format(**found["routing"]),
    ]
    return "\n".join([*lines, ""])


def main() -> None:
    """Measure and write."""
    import torch

    import transferlens as tl

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    study = tl.open_study(given.study)
    own = {info.name for info in study.targets}
    names = [info.name for info in study.sources if info.name in own][-N_ADAPTERS:]
    prompts = prompts_of(study, names)
    found = {
        "study": study.origin.get("name", given.study.name),
        "adapters": names,
        "repeats": given.repeats,
        "hardware": {**hardware(), "load": round(os.getloadavg()[0], 1)},
        "routing": routing(study, prompts),
        "tokens_per_second": throughput(given.study, names, prompts, given.repeats),
    }
    (RESULTS / "serve.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    (RESULTS / "serve.md").write_text(page_of(found))
    print(page_of(found))


if __name__ == "__main__":
    main()
