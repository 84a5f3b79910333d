"""Write docs/offline-suite.md from the suite itself: ``python scripts/suite_page.py``."""

from __future__ import annotations

from pathlib import Path
from statistics import mean

from transferlens.tasks.suite import SUITE, SuiteTask, generate

PAGE = Path(__file__).parents[1] / "docs" / "offline-suite.md"
MEASURED_ROWS = 1_000
INTRODUCTION = """# The offline suite

Ten tasks that the package generates from a seed, without any data from elsewhere. Studies that run
offline use them, and experiments that need a known truth: the classes, their shares and the length
of the outputs are what you ask for. `scripts/suite_page.py` writes this page.

```python
from transferlens.tasks.suite import generate

skew = {"negative": 9, "positive": 1}
rows = generate("sentiment", split="train", n=800, seed=1, class_weights=skew)
short = generate("word_problems", split="train", n=800, output_length="short")
```

Each row is a dictionary with `prompt`, `completion`, `label` and `choices`. A completion follows
its prompt after one space.

**Splits.** Every event, sentence and sum belongs by a hash of its own text to one of three
partitions: train, test, or the text from which the embedded base model was pre-trained. So no test
content is seen in training, whatever the seeds. Sums within the small tables (one operand of at
most ten) and asides that do not decide the answer are common to all.

**Sizes.** Up to 20,000 different training rows and 5,000 different test rows per task.

**Plants.** `class_weights` sets the shares of a choice task's classes, exact up to rounding.
`output_length` makes the completions of `word_problems` (answer alone, a sum per step, a sentence
per step) and of `rewriting` (1, 3–4, 5–6 sentences) short, normal or long.

**Limits.** The English is grammatical and varied, but it tells of a small invented world; a good
score here says nothing about a model's English at large. In `inference` each event has one place,
one time and one companion, so a hypothesis with another one contradicts its premise.
"""


def _shares(task: SuiteTask) -> str:
    if task.class_weights is None:
        return "free text"
    return ", ".join(f"{label} {weight:.0%}" for label, weight in task.class_weights.items())


def _words(texts: list[str]) -> str:
    return f"{mean(len(text.split()) for text in texts):.1f}"


def _table_row(task: SuiteTask) -> str:
    rows = generate(task.name, split="test", n=MEASURED_ROWS)
    prompts = _words([row["prompt"] for row in rows])
    outputs = _words([row["completion"] for row in rows])
    cells = (f"`{task.name}`", task.family, task.kind, task.metric, _shares(task), prompts, outputs)
    return f"| {' | '.join(cells)} |"


def _samples(task: SuiteTask) -> str:
    rows = generate(task.name, split="test", n=2)
    blocks = [f"{row['prompt']} {row['completion']}" for row in rows]
    body = "\n\n".join(f"```text\n{block}\n```" for block in blocks)
    return f"### {task.name}\n\n{task.description}.\n\n{body}"


def page() -> str:
    """Return the whole page."""
    head = "| task | family | kind | metric | classes | words of prompt | words of output |"
    table = "\n".join([head, "|---" * 7 + "|", *map(_table_row, SUITE.values())])
    samples = "\n\n".join(map(_samples, SUITE.values()))
    return f"{INTRODUCTION}\n## Tasks\n\n{table}\n\n## Two rows of each\n\n{samples}\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
