"""Measure the linguistic features of 100,000 sentences, and the tests of one cell.

``python benchmarks/linguistics.py`` draws sentences whose words are as frequent as in English
(so that as many of them are new as in real text), measures the lexicon backend and the tests in
this process, and writes ``benchmarks/results/linguistics.json`` and ``linguistics.md``. Seconds
are those of the processor: other programs on the machine do not count.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from calibration import RESULTS, hardware

GOAL = 100.0
VOCABULARY = 60_000
PAIRS, FEATURES = 500, 50


def sentences(n: int, rng: np.random.Generator) -> list[str]:
    """Return sentences of about twenty words, drawn by their frequency in English."""
    from wordfreq import top_n_list, word_frequency

    words = np.array(top_n_list("en", VOCABULARY))
    weight = np.array([word_frequency(word, "en") for word in words])
    lengths = np.clip(rng.lognormal(2.9, 0.5, n), 3, 80).astype(int)
    drawn = rng.choice(words, size=int(lengths.sum()), p=weight / weight.sum())
    ends = np.cumsum(lengths)
    return [
        " ".join(drawn[end - length : end]).capitalize() + "."
        for end, length in zip(ends, lengths, strict=True)
    ]


def seconds(work: Callable[[], Any]) -> float:
    """Return the processor seconds of a call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def measure(n: int) -> dict[str, float]:
    """Return seconds of each step."""
    from transferlens.explain.linguistics import (
        LexiconBackend,
        linguistic_features,
        penalized_logit,
    )
    from transferlens.explain.linguistics.measures import measure as measure_annotated

    rng = np.random.default_rng(0)
    texts = sentences(n, rng)
    loading = seconds(lambda: linguistic_features(["Load the word lists."]))
    with tempfile.TemporaryDirectory() as folder:
        total = seconds(lambda: linguistic_features(texts, cache=folder))
        cached = seconds(lambda: linguistic_features(texts, cache=folder))
    part = texts[: n // 10]
    annotation = LexiconBackend().annotate(part)
    outcome = (rng.random(PAIRS) < 0.6).astype(float)
    values, length = rng.standard_normal((FEATURES, PAIRS)), rng.standard_normal((1, PAIRS))
    return {
        "sentences": n,
        "words": sum(text.count(" ") + 1 for text in texts),
        "distinct words": len({word for text in texts for word in text.split()}),
        "loading the word lists": loading,
        "features": total,
        "features from the cache": cached,
        "of a tenth: annotation": seconds(lambda: LexiconBackend().annotate(part)),
        "of a tenth: measures": seconds(lambda: measure_annotated(annotation, part)),
        f"tests of {FEATURES} features on {PAIRS} discordant examples": seconds(
            lambda: penalized_logit(outcome, values, length)
        ),
    }


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sentences", type=int, default=100_000)
    found = measure(parser.parse_args().sentences)
    met = "met" if found["features"] <= GOAL else "missed"
    lines = [
        "# Linguistic features, lexicon backend, one core",
        "",
        "; ".join(f"{name}: {value}" for name, value in hardware().items()) + ".",
        "",
        "| step | value |",
        "|---|---|",
        *(f"| {name} | {_shown(value)} |" for name, value in found.items()),
        "",
        f"Goal for 100,000 sentences: at most {GOAL:.0f} s of the processor; {met}.",
        "",
        "Written by `python benchmarks/linguistics.py`.",
    ]
    RESULTS.mkdir(exist_ok=True)
    Path(RESULTS, "linguistics.json").write_text(
        json.dumps(found, indent=2) + "\n", encoding="utf-8"
    )
    Path(RESULTS, "linguistics.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


def _shown(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.2f} s"


if __name__ == "__main__":
    main()
