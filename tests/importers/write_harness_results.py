"""Run lm-evaluation-harness itself on a tiny model and two adapters of it; a process of its own.

Usage: write_harness_results.py MODEL OUTPUT. Prints what the harness says as one line of JSON.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}

ANIMALS = ["cat", "dog", "girl", "boy", "bird", "fish", "frog", "bear", "mouse", "cow"]
CHOICES = ["a red ball", "a little dog", "a big tree"]


def main(model, output):
    os.environ["HF_DATASETS_CACHE"] = str(output / "cache")
    import lm_eval
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.tasks import TaskManager

    rows = [
        {"q": f"Once there was a {name} who liked", "a": CHOICES, "y": i % 3}
        for i, name in enumerate(ANIMALS)
    ]
    data = output / "stories.jsonl"
    data.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    manager = TaskManager(include_defaults=False)
    said = {}
    for name, shots in (("base", 0), ("cats", 0), ("dogs_seed1", 0), ("shots", 1)):
        adapter = "" if name == "base" else f",peft={make_adapter(model, output / name)}"
        tracker = EvaluationTracker(
            output_path=str(output / "shots" if shots else output / "plain")
        )
        results = lm_eval.simple_evaluate(
            model="hf",
            model_args=f"pretrained={model}{adapter}",
            tasks=tasks(str(data), shots),
            task_manager=manager,
            bootstrap_iters=0,
            device="cpu",
            log_samples=True,
            evaluation_tracker=tracker,
        )
        samples = results.pop("samples")
        said[name] = results["results"]
        tracker.save_results_aggregated(results=results, samples=samples)
        for task, rows_of in samples.items():
            tracker.save_results_samples(task_name=task, samples=rows_of)
    print(json.dumps(said))  # noqa: T201 - for the test that started this


def make_adapter(model, folder):
    """Save a LoRA adapter with random weights, another one for each name."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(len(folder.name))
    config = LoraConfig(
        r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False, task_type="CAUSAL_LM"
    )
    base = AutoModelForCausalLM.from_pretrained(model)
    get_peft_model(base, config).save_pretrained(folder)
    return folder


def tasks(data, shots):
    def task(name, **fields):
        return {
            "task": name,
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": {"test": data}},
            "test_split": "test",
            "fewshot_split": "test",
            "num_fewshot": shots,
            "doc_to_text": "{{q}}",
            **fields,
        }

    exact = {"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}
    first_word = {"function": "regex", "regex_pattern": "(\\w+)"}
    take = {"function": "take_first"}
    return [
        task(
            "stories_choice",
            output_type="multiple_choice",
            doc_to_choice="{{a}}",
            doc_to_target="{{y}}",
            metric_list=[{"metric": "acc"}, {"metric": "acc_norm"}],
        ),
        task(
            "stories_write",
            output_type="generate_until",
            doc_to_target="{{a[y]}}",
            generation_kwargs={"until": ["."], "max_gen_toks": 6},
            metric_list=[exact],
            filter_list=[
                {"name": "none", "filter": [take]},
                {"name": "first", "filter": [first_word, take]},
            ],
        ),
        task(
            "stories_rolling",
            output_type="loglikelihood_rolling",
            doc_to_text="",
            doc_to_target="{{q}}",
            metric_list=[{"metric": "bits_per_byte"}],
        ),
    ]


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
    sys.stdout.flush()
    # The libraries' threads may take minutes to end on a busy machine; all is written.
    os._exit(0)
