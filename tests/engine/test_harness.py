"""The engine against lm-evaluation-harness, in this process and on local tasks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_choices import QUESTIONS, flat, items_of

from transferlens.engine.adapters import with_saved_adapter
from transferlens.engine.base import Base
from transferlens.engine.choices import score_choices
from transferlens.engine.evaluate import evaluate_cell
from transferlens.engine.outline import Part
from transferlens.engine.prepare import prepare_target
from transferlens.results import Cell
from transferlens.study import StudySpec
from transferlens.tasks import load_task

pytestmark = [pytest.mark.filterwarnings("ignore")]  # those of the harness are not ours to mend

TOLERANCE = 1e-4
OPTIONS = ["yes", "no", "not at all", "maybe the cat sat", "negative", "42", "3 €", "true"]


@pytest.fixture(scope="module")
def harness_of() -> Iterator[Any]:
    """Wrap a base's model, with whatever adapter is in it, for the harness."""
    from lm_eval.models.huggingface import HFLM
    from transformers import AutoTokenizer

    made: dict[int, Any] = {}

    def wrap(base: Base):
        if id(base) not in made:
            tokenizer = AutoTokenizer.from_pretrained(base.name)
            made[id(base)] = HFLM(
                pretrained=base.model, tokenizer=tokenizer, backend="causal", batch_size=3,
                device="cpu", dtype="float32",
            )  # fmt: skip
        return made[id(base)]

    return wrap


@pytest.fixture(scope="module")
def manager():
    from lm_eval.tasks import TaskManager

    return TaskManager(include_defaults=False)


def requests(questions=QUESTIONS):
    from lm_eval.api.instance import Instance

    return [
        Instance("loglikelihood", {}, (prompt, choice), 0)
        for prompt, choices in questions
        for choice in choices
    ]


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen2", "gpt_neox"])
@pytest.mark.parametrize("adapted", [False, True])
def test_scores_of_choices_agree_with_the_harness(base_of, adapter_of, harness_of, family, adapted):
    base = base_of(family)
    with with_saved_adapter(base.model, adapter_of(family)) if adapted else nullcontext():
        found = flat(score_choices(base, items_of(base), batch_tokens=120))
        theirs = harness_of(base).loglikelihood(requests(), disable_tqdm=True)
    np.testing.assert_allclose(found, [value for value, _ in theirs], atol=TOLERANCE, rtol=0)


def test_scores_of_the_real_model_agree_with_the_harness(stories, harness_of):
    found = flat(score_choices(stories, items_of(stories), batch_tokens=120))
    theirs = harness_of(stories).loglikelihood(requests(), disable_tqdm=True)
    np.testing.assert_allclose(found, [value for value, _ in theirs], atol=TOLERANCE, rtol=0)


texts = st.text(
    st.characters(codec="utf-8", categories=("L", "N", "P", "Zs", "Cc")), min_size=1, max_size=20
)


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen2"])
@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(prompt=texts, answer=texts)
def test_prompt_and_answer_are_cut_where_the_harness_cuts(
    base_of, harness_of, family, prompt, answer
):
    base = base_of(family)
    context, continuation = harness_of(base)._encode_pair(prompt, answer)
    found = base.codec.pairs([prompt], [answer])[0]
    if not continuation:
        # The harness fails where the prompt swallows the answer: 'o' and 'n' are one token 'on'.
        assert base.codec.decode(found.continuation) == answer
    elif context:
        assert (list(found.context), list(found.continuation)) == (context, continuation)
    else:
        # The harness would fail on a prompt of white space alone.
        assert found.context == (base.codec.start,)
        assert list(found.continuation) == continuation


@pytest.mark.parametrize(
    ("prompt", "answer"),
    [("Is it? ", "yes"), ("Is it?\n", " yes"), ("a", "bc"), ("<s>The cat", " sat"), ("x", " ")],
)
def test_odd_borders_are_cut_where_the_harness_cuts(llama, harness_of, prompt, answer):
    found = llama.codec.pairs([prompt], [answer])[0]
    theirs = harness_of(llama)._encode_pair(prompt, answer)
    assert (list(found.context), list(found.continuation)) == theirs


@pytest.fixture
def rows_file(tmp_path: Path) -> Path:
    """File with 24 questions of four choices each."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(24):
        options = [str(word) for word in rng.permutation(OPTIONS)[:4]]
        question = f"Q: What is {i} + {i * 7}? A:"
        rows.append({"question": question, "options": options, "gold": i % 4})
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def cell_of(base: Base, task: dict[str, Any]):
    """Evaluate whatever is in the model as a study does."""
    spec = StudySpec.from_dict({"tasks": {"t": task}, "sources": ["t"], "targets": ["t"]})
    loaded = load_task(spec.targets[0], spec, role="targets", index=0)
    part = Part(name="t", task=loaded, role="targets", examples=loaded.test(None, seed=0))
    target = prepare_target(base.codec, part, max_length=base.context)
    cell = Cell(
        id="c", adapter_id="a", source="s", target="t", seed=0, n_examples=len(part.examples)
    )
    frame = evaluate_cell(base, target, cell, batch_tokens=150, tick=lambda *_: None)
    prompts = pl.Series("prompt", [example.prompt for example in part.examples])
    return frame.with_columns(prompts).sort("prompt")


@pytest.fixture
def local_samples(llama, harness_of, manager, rows_file):
    """Let the harness evaluate whatever is in the model; returns results and sorted samples."""
    from lm_eval import simple_evaluate

    files = {"data_files": {"test": str(rows_file)}, "cache_dir": str(rows_file.parent)}

    def evaluate(config: dict[str, Any]):
        task = {
            "task": "local", "dataset_path": "json", "dataset_kwargs": files,
            "test_split": "test", "doc_to_text": "{{question}}", "num_fewshot": 0, **config,
        }  # fmt: skip
        found = simple_evaluate(
            harness_of(llama), tasks=[task], task_manager=manager, bootstrap_iters=0,
            log_samples=True,
        )  # fmt: skip
        samples = sorted(found["samples"]["local"], key=lambda row: row["doc"]["question"])
        return found["results"]["local"], samples

    return evaluate


CHOOSE = {
    "output_type": "multiple_choice", "doc_to_choice": "{{options}}",
    "doc_to_target": "{{gold}}", "target_delimiter": " ",
    "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
}  # fmt: skip


@pytest.mark.parametrize("adapted", [False, True])
def test_accuracy_on_a_local_task_is_exactly_that_of_the_harness(
    llama, adapter_of, local_samples, rows_file, adapted
):
    task = {
        "data": {"test": str(rows_file)}, "prompt": "{{ question }}", "choices": "options",
        "label": "gold",
    }  # fmt: skip
    with with_saved_adapter(llama.model, adapter_of("llama")) if adapted else nullcontext():
        frames = {
            "acc": cell_of(llama, task),
            "acc_norm": cell_of(llama, {**task, "length_normalized": True}),
        }
        results, samples = local_samples(CHOOSE)
    theirs = np.array([[float(r[0]) for r in sample["filtered_resps"]] for sample in samples])
    for name, frame in frames.items():
        found = np.array(frame["choice_logprobs"].to_list())
        np.testing.assert_allclose(found, theirs, atol=TOLERANCE, rtol=0)
        assert frame["score"].to_list() == [sample[name] for sample in samples]
        assert frame["score"].mean() == results[f"{name},none"]
        assert 0 < frame["score"].mean() < 1


def test_length_normalisation_divides_by_the_characters_of_a_choice(llama, rows_file):
    file = rows_file
    mine = {
        "data": {"test": str(file)}, "prompt": "{{ question }}", "choices": "options",
        "label": "gold",
    }  # fmt: skip
    plain = cell_of(llama, mine)
    normalized = cell_of(llama, {**mine, "length_normalized": True})
    assert plain["choice_logprobs"].to_list() == normalized["choice_logprobs"].to_list()
    options = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    options.sort(key=lambda row: row["question"])
    for row, sums, by_sum, by_length in zip(
        options,
        plain["choice_logprobs"],
        plain["prediction"],
        normalized["prediction"],
        strict=True,
    ):
        per_character = [s / len(o) for s, o in zip(sums, row["options"], strict=True)]
        assert by_sum == row["options"][int(np.argmax(sums))]
        assert by_length == row["options"][int(np.argmax(per_character))]
    assert plain["prediction"].to_list() != normalized["prediction"].to_list()


@pytest.mark.parametrize("stop", [[], ["e", "\n\n"]])
def test_generated_texts_are_exactly_those_of_the_harness(llama, local_samples, rows_file, stop):
    task = {
        "data": {"test": str(rows_file)}, "prompt": "{{ question }}", "label": "gold",
        "metric": "exact_match", "max_new_tokens": 10, "stop": stop,
    }  # fmt: skip
    config = {
        "output_type": "generate_until", "doc_to_target": "{{gold}}",
        "generation_kwargs": {"until": stop, "max_gen_toks": 10, "do_sample": False},
        "metric_list": [{"metric": "exact_match"}],
    }  # fmt: skip
    frame = cell_of(llama, task)
    _, samples = local_samples(config)
    assert frame["completion"].to_list() == [sample["resps"][0][0] for sample in samples]
    assert len(set(frame["completion"].to_list())) > 1
