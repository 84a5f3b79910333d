"""Tasks of lm-evaluation-harness as targets, against its own evaluator on the same files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
import yaml

import transferlens as tl
from transferlens.engine.adapters import with_saved_adapter
from transferlens.engine.encode import ChoiceItem
from transferlens.engine.evaluate import evaluate_cell
from transferlens.engine.harness_answers import are_greedy
from transferlens.engine.outline import Part
from transferlens.engine.prepare import prepare_target
from transferlens.errors import DataError, SpecError
from transferlens.results import Cell
from transferlens.study import StudySpec
from transferlens.tasks import harness_targets, is_harness
from transferlens.tasks.harness import load_harness

pytestmark = [pytest.mark.filterwarnings("ignore")]  # those of lm-eval are not ours to mend

WORDS = ["yes", "no", "not at all", "maybe the cat sat", "negative", "42", "3 €", "true"]
MEAN = {"aggregation": "mean", "higher_is_better": True}
COMMON = {"dataset_path": "json", "test_split": "test", "metadata": {"version": 1.5}}
TASKS = {
    "quiz": {
        "output_type": "multiple_choice", "fewshot_split": "train", "num_fewshot": 2,
        "description": "Answer.\n\n", "doc_to_text": "Q: {{q}}\nA:", "doc_to_target": "gold",
        "doc_to_choice": "{{options}}",
        "metric_list": [{"metric": "acc", **MEAN}, {"metric": "acc_norm", **MEAN}],
    },
    "blank": {
        "output_type": "multiple_choice", "doc_to_text": "{{gold}}",
        "doc_to_choice": "{{[a, b]}}", "doc_to_target": "{{rest}}",
        "metric_list": [
            {"metric": "acc", **MEAN}, {"metric": "acc_bytes", **MEAN},
            {"metric": "acc_mutual_info", **MEAN},
        ],
    },
    "several": {
        "output_type": "multiple_choice", "doc_to_text": "{{q}}", "doc_to_target": "{{right}}",
        "doc_to_choice": ["yes", "no", "true"], "target_delimiter": " = ",
        "metric_list": [
            {"metric": "acc", **MEAN}, {"metric": "exact_match", **MEAN},
        ],
    },
    "sums": {
        "output_type": "generate_until", "doc_to_text": "Q: {{q}} ", "doc_to_target": "answer",
        "generation_kwargs": {"until": ["\n", "e"], "max_gen_toks": 8, "do_sample": False},
        "metric_list": [{"metric": "exact_match", **MEAN}],
        "filter_list": [
            {"name": "letter", "filter": [
                {"function": "regex", "regex_pattern": "(\\w)"}, {"function": "take_first"},
            ]},
            {"name": "raw", "filter": [{"function": "take_first"}]},
        ],
    },
    "cloze": {
        "output_type": "loglikelihood", "doc_to_text": "{{q}}", "doc_to_target": "{{answer}}",
        "metric_list": [
            {"metric": "acc", **MEAN},
            {"metric": "perplexity", "aggregation": "perplexity", "higher_is_better": False},
        ],
    },
}  # fmt: skip
COMPARED = [
    ("quiz", "acc", "none"), ("quiz", "acc_norm", "none"), ("blank", "acc", "none"),
    ("blank", "acc_bytes", "none"), ("several", "acc", "none"),
    ("blank", "acc_mutual_info", "none"), ("several", "exact_match", "none"),
    ("sums", "exact_match", "letter"), ("sums", "exact_match", "raw"), ("cloze", "acc", "none"),
]  # fmt: skip


def write_rows(file, rows):
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def rows_of(name, count, start=0):
    rng = np.random.default_rng(len(name) + start)
    for i in range(start, start + count):
        yield {
            "q": f"What is {i} + {i * 7}?",
            "options": [str(word) for word in rng.permutation(WORDS)[:4]],
            "gold": i % 2 if name == "blank" else i % 4,
            "right": [i % 3, (i + 1) % 3],
            "a": f"The cat {i}",
            "b": f"A dog {i} there",
            "rest": "sat on the mat" if i % 2 else "is not here",
            "answer": str(i),
        }


@pytest.fixture(scope="module")
def evals(tmp_path_factory) -> Path:
    """Folder with a YAML file and rows for each task, and a group of two of them."""
    folder = tmp_path_factory.mktemp("evals")
    for name, task in TASKS.items():
        write_rows(folder / f"{name}.jsonl", rows_of(name, 10))
        files = {"test": f"{name}.jsonl"}
        if "fewshot_split" in task:
            write_rows(folder / f"{name}-shots.jsonl", rows_of(name, 5, start=90))
            files["train"] = f"{name}-shots.jsonl"
        data = {"dataset_kwargs": {"data_files": files}}
        text = yaml.safe_dump({"task": name, **COMMON, **data, **task}, sort_keys=False)
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    group = yaml.safe_dump({"group": "both", "task": ["quiz", "sums"]})
    (folder / "both.yaml").write_text(group, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def their_samples(evals, model_folder, adapter_of):
    """What lm-eval itself finds, as its command line calls it, for the base and an adapter."""
    from contextlib import chdir

    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(evals), include_defaults=False)
    found = {}
    for adapted in (False, True):
        peft = f",peft={adapter_of('llama')}" if adapted else ""
        with chdir(evals):
            found[adapted] = simple_evaluate(
                "hf", f"pretrained={model_folder('llama')}{peft},dtype=float32",
                tasks=list(TASKS), task_manager=manager, device="cpu", batch_size=4,
                bootstrap_iters=0,
            )["samples"]  # fmt: skip
    return found


def study(root, targets, tasks=None):
    own = {"mine": {"data": {"test": "quiz.jsonl"}, "prompt": "{{ q }}", "label": "answer"}}
    value = {"tasks": {**own, **(tasks or {})}, "sources": ["mine"], "targets": targets}
    return StudySpec.from_dict(value, root=root)


def evaluated(base, evals, name, metric):
    task = {"data": {"lm_eval": f"{name}.yaml"}, "metric": metric}
    spec = study(evals, ["t"], {"t": task})
    (found,) = harness_targets(spec.targets[0], spec, role="targets", index=0)
    part = Part(
        name=found.name, task=found.task, role="targets", examples=found.examples,
        harness=found.harness,
    )  # fmt: skip
    target = prepare_target(base.codec, part, max_length=base.context)
    cell = Cell(id="c", adapter_id="a", source="s", target="t", seed=0, n_examples=10)
    return evaluate_cell(base, target, cell, batch_tokens=300, tick=lambda *_: None)


@pytest.mark.parametrize("adapted", [False, True])
def test_scores_of_every_example_are_those_of_the_harness(
    llama, adapter_of, evals, their_samples, adapted
):
    def check():
        for name, key, chosen in COMPARED:
            frame = evaluated(llama, evals, name, f"{key},{chosen}")
            theirs = [s for s in their_samples[adapted][name] if s["filter"] == chosen]
            theirs.sort(key=lambda sample: sample["doc_id"])
            assert frame["score"].to_list() == [float(s[key]) for s in theirs], (name, key)
            if name == "sums":
                assert frame["completion"].to_list() == [s["resps"][0][0] for s in theirs]
                assert frame["prediction"].to_list() == [s["filtered_resps"][0] for s in theirs]
                continue
            for mine, sample in zip(frame["choice_logprobs"].to_list(), theirs, strict=True):
                sums = [response[0][0] for response in sample["resps"]]
                np.testing.assert_allclose(mine, sums[: len(mine)], atol=1e-4, rtol=0)

    if adapted:
        with with_saved_adapter(llama.model, adapter_of("llama")):
            check()
    else:
        check()


@pytest.mark.parametrize("metric", ["acc", "acc_norm"])
def test_the_stored_prediction_is_the_answer_that_was_scored(llama, evals, metric):
    frame = evaluated(llama, evals, "quiz", metric)
    right = (frame["prediction"] == frame["gold"]).cast(pl.Float64)
    assert frame["score"].to_list() == right.to_list()


def test_a_group_becomes_its_tasks_under_their_own_names(evals):
    spec = study(evals, ["lm_eval/both.yaml", {"task": "lm_eval/both.yaml", "name": "again"}])
    assert is_harness(spec.targets[0], spec)
    names = [
        [t.name for t in harness_targets(ref, spec, role="targets", index=i)]
        for i, ref in enumerate(spec.targets)
    ]
    assert names == [["quiz", "sums"], ["again.quiz", "again.sums"]]


def test_versions_and_hashes_are_known_and_depend_on_what_is_asked(evals):
    def record(**settings):
        return load_harness("quiz.yaml", root=evals, **settings)[0].record

    plain, other = record(), record(shots=1)
    assert plain["version"] == "1.5"
    assert plain["metric"] == "acc"
    assert plain["num_fewshot"] == "2"
    assert record() == plain
    assert {k for k in plain if plain[k] != other[k]} == {
        "num_fewshot", "config_hash", "questions_hash",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("perplexity", "'perplexity' is not a mean of scores of examples; choose .*: acc$"),
        ("acc,nothing", "no filter 'nothing'"),
        ("accc", "no metric 'accc'. Did you mean 'acc'"),
    ],
)
def test_a_metric_that_cannot_be_compared_by_example_is_refused(evals, metric, message):
    with pytest.raises(SpecError, match=message):
        load_harness("cloze.yaml", root=evals, metric=metric)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            "unsafe_code: true",
            "odd runs code that a model wrote; allow it with `unsafe_code: true`",
        ),
        ("process_docs: !function evil.run", "runs Python functions that its YAML file names"),
        ("include: part.yaml", "runs Python functions that its YAML file names"),
        ("dataset_kwargs: {trust_remote_code: true}", "comes with its dataset"),
        ("output_type: loglikelihood_rolling", "loglikelihood_rolling"),
        ("repeats: 3", "several answers"),
        ("generation_kwargs: {do_sample: true}", "not greedy"),
    ],
)
def test_tasks_that_run_code_or_cannot_be_targets_are_refused(tmp_path, lines, message):
    (tmp_path / "evil.py").write_text("raise SystemExit('this code ran')", encoding="utf-8")
    (tmp_path / "part.yaml").write_text("process_docs: !function evil.run\n", encoding="utf-8")
    write_rows(tmp_path / "rows.jsonl", rows_of("odd", 2))
    task = {"task": "odd", **COMMON, "doc_to_text": "{{q}}", "doc_to_target": "answer"}
    if "output_type" not in lines:
        task["output_type"] = "generate_until"
    if "dataset_kwargs" not in lines:
        task["dataset_kwargs"] = {"data_files": {"test": "rows.jsonl"}}
    text = yaml.safe_dump(task) + lines + "\n"
    (tmp_path / "odd.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(SpecError, match=message):
        load_harness("odd.yaml", root=tmp_path)


def test_templates_of_a_local_file_cannot_reach_python(tmp_path):
    write_rows(tmp_path / "rows.jsonl", rows_of("odd", 2))
    task = {
        "task": "odd", **COMMON, "output_type": "generate_until", "doc_to_target": "answer",
        "doc_to_text": "{{ ''.__class__.__mro__ }}",
        "dataset_kwargs": {"data_files": {"test": "rows.jsonl"}},
    }  # fmt: skip
    (tmp_path / "odd.yaml").write_text(yaml.safe_dump(task), encoding="utf-8")
    with pytest.raises(DataError, match="__class__"):
        load_harness("odd.yaml", root=tmp_path)


def test_a_dataset_that_is_not_here_is_said_before_anything_is_trained(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    task = {"task": "far", **COMMON, "output_type": "generate_until", "dataset_path": "a/far"}
    (tmp_path / "far.yaml").write_text(yaml.safe_dump(task), encoding="utf-8")
    spec = study(tmp_path, ["lm_eval/far.yaml"])
    with pytest.raises(DataError, match=r"^targets.0: the dataset 'a/far' .* is not on this"):
        harness_targets(spec.targets[0], spec, role="targets", index=0)


def test_a_task_of_the_harness_is_no_source_and_keeps_its_own_prompt(evals):
    spec = StudySpec.from_dict({"sources": ["lm_eval/quiz.yaml"], "targets": ["x"]}, root=evals)
    with pytest.raises(SpecError, match="can only be a target"):
        harness_targets(spec.sources[0], spec, role="sources", index=0)
    with pytest.raises(SpecError, match="prompt is for lm-eval's task to say"):
        study(evals, ["t"], {"t": {"data": {"lm_eval": "quiz.yaml"}, "prompt": "{{ q }}"}})


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_continuation_is_greedy_if_the_model_itself_would_write_it(base_of, family):
    base = base_of(family)
    items = []
    for prompt in base.codec.prompts(["The cat", "What is 3 + 4?", "a"]):
        text = list(prompt)
        for _ in range(3):
            with torch.inference_mode():
                text.append(int(base.model(torch.tensor([text])).logits[0, -1].argmax()))
        own = tuple(text[len(prompt) :])
        items.append(ChoiceItem(prompt, (own, own[:1], (*own[:2], own[2] ^ 1), (own[0] ^ 1,))))
    assert are_greedy(base, items, batch_tokens=30) == [True, True, False, False] * 3


def test_a_study_of_own_and_foreign_targets_runs_and_is_known_as_finished(
    evals, model_folder, tmp_path
):
    method = {"steps": 2, "rank": 2, "batch_tokens": 60}
    own = {"data": {"train": "quiz.jsonl", "test": "quiz.jsonl"}, "prompt": "{{ q }}"}
    value = {
        "base": str(model_folder("llama")), "compute": {"device": "cpu"}, "method": method,
        "tasks": {"mine": {**own, "label": "answer", "metric": "exact_match"}},
        "sources": ["mine"], "targets": ["mine", "lm_eval/both.yaml", "lm_eval/blank.yaml"],
    }  # fmt: skip
    spec = StudySpec.from_dict(value, root=evals)
    study = tl.run(spec, tmp_path / "out", log="quiet")
    assert [t.name for t in study.targets] == ["mine", "quiz", "sums", "blank"]
    assert [t.metric for t in study.targets][1:] == ["acc", "exact_match,letter", "acc"]
    assert study.targets[2].origin["version"] == "1.5"
    assert study.targets[0].origin is None
    files = {f: f.stat().st_mtime_ns for f in (tmp_path / "out").rglob("*.parquet")}
    again = tl.run(spec, tmp_path / "out", log="quiet")
    assert {f: f.stat().st_mtime_ns for f in (tmp_path / "out").rglob("*.parquet")} == files
    assert again.targets == study.targets
