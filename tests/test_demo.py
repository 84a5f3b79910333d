"""The study of `make demo` shows what it is there to show: skills that are learnt, and transfer."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest

import transferlens as tl
from transferlens.engine.outline import outline_study
from transferlens.stats import adjust_p_values, sign_flip_test

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The finished study and its targets, with their examples and scorers."""
    folder = tmp_path_factory.mktemp("demo") / "demo"
    spec = tl.StudySpec.from_yaml(ROOT / "examples" / "demo.yaml")
    command = [sys.executable, "-m", "transferlens", "run", str(ROOT / "examples" / "demo.yaml")]
    subprocess.run([*command, "-o", str(folder), "--log", "json"], check=True, capture_output=True)
    return tl.open_study(folder), outline_study(spec).targets


def scores(study, source, target):
    examples = study.examples(target)
    if source == "base":
        return examples["base_score"].sel(seed=0).to_numpy()
    return examples["score"].sel(source=source, seed=0).to_numpy()


def constant_scores(part):
    """Scores of the best answer that is the same for every example."""
    answer, _ = Counter(example.gold for example in part.examples).most_common(1)[0]
    return np.array([part.scorer.score(answer, example.gold) for example in part.examples])


def p_value(first, second):
    test = sign_flip_test(first, second, rng=np.random.default_rng(0), n_resamples=9_999)
    return test.p_value if test.estimate > 0 else 1.0


def test_an_adapter_beats_the_base_and_a_constant_answer_on_its_own_task(demo):
    study, parts = demo
    better = [
        part.name
        for part in parts
        if p_value(scores(study, part.name, part.name), scores(study, "base", part.name)) < 0.01
        and p_value(scores(study, part.name, part.name), constant_scores(part)) < 0.01
    ]
    assert len(better) >= 8, better


def test_the_base_is_above_chance_on_at_least_half_of_the_tasks(demo):
    study, parts = demo
    above = []
    for part in parts:
        got = scores(study, "base", part.name)
        if part.task.kind == "choice":
            chance = 1 / len(part.examples[0].choices)
            good = binomtest(int(got.sum()), len(got), chance, alternative="greater").pvalue < 0.01
        else:
            good = p_value(got, constant_scores(part)) < 0.01
        if good:
            above.append(part.name)
    assert len(above) >= 5, above


def test_there_are_significant_gains_and_losses_on_other_tasks(demo):
    study, _ = demo
    pairs = [(s.name, t.name) for s in study.sources for t in study.targets if s.name != t.name]
    tests = [
        sign_flip_test(
            scores(study, source, target),
            scores(study, "base", target),
            rng=np.random.default_rng(0),
            n_resamples=9_999,
        )
        for source, target in pairs
    ]
    adjusted = adjust_p_values(np.array([test.p_value for test in tests]), method="bh")
    gains = np.array([test.estimate for test in tests])
    assert np.count_nonzero((adjusted < 0.05) & (gains > 0)) >= 3
    assert np.count_nonzero((adjusted < 0.05) & (gains < 0)) >= 3
