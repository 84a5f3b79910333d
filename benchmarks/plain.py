"""What a user would write: an adapter per dataset with peft or TRL, then the evaluation harness.

Only `benchmarks/engine.py` uses it. ``python benchmarks/plain.py MODEL ROWS OUT STEPS BATCH``
trains one adapter with TRL, as the script of such a user does for each dataset.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

RANK, ALPHA, RATE = 16, 32, 2e-4


def lora() -> Any:
    """Return the method that all of them use."""
    from peft import LoraConfig

    return LoraConfig(task_type="CAUSAL_LM", r=RANK, lora_alpha=ALPHA, target_modules="all-linear")


def train_peft(model: Any, rows: Sequence[Any], plan: Sequence[Sequence[int]]) -> Any:
    """Train with a plain loop over right-padded batches; ``plan`` holds the rows of each step."""
    import torch
    from peft import get_peft_model

    adapted = get_peft_model(model, lora())
    optimizer = torch.optim.AdamW([w for w in adapted.parameters() if w.requires_grad], lr=RATE)
    adapted.train()
    for step in plan:
        batch = [rows[i] for i in step]
        width = max(len(row.tokens) for row in batch)
        ids = torch.zeros(len(batch), width, dtype=torch.long)
        mask, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
        for i, row in enumerate(batch):
            n = len(row.tokens)
            ids[i, :n] = torch.tensor(row.tokens)
            mask[i, :n] = 1
            labels[i, row.n_prompt : n] = ids[i, row.n_prompt : n]
        adapted(input_ids=ids, attention_mask=mask, labels=labels).loss.backward()
        torch.nn.utils.clip_grad_norm_(adapted.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return adapted


def train_trl(
    model: Any, tokenizer: Any, rows: Sequence[dict[str, str]], out: Path, *, steps: int,
    batch: int, checkpointing: bool = True,
) -> Any:  # fmt: skip
    """Train with TRL as it comes, but in single precision, which is what ours uses too."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    config = SFTConfig(
        output_dir=str(out), max_steps=steps, per_device_train_batch_size=batch,
        learning_rate=RATE, bf16=False, use_cpu=True, report_to="none", save_strategy="no",
        gradient_checkpointing=checkpointing, disable_tqdm=True, logging_strategy="no",
        max_length=None,
    )  # fmt: skip
    trainer = SFTTrainer(
        model=model, args=config, train_dataset=Dataset.from_list(list(rows)),
        processing_class=tokenizer, peft_config=lora(),
    )  # fmt: skip
    trainer.train()
    return trainer


def main() -> None:
    """Train one adapter with TRL and save it."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder, file, out, steps, batch = sys.argv[1:]
    rows = [json.loads(line) for line in Path(file).read_text(encoding="utf-8").splitlines()]
    pairs = [{"prompt": row["prompt"], "completion": " " + row["completion"]} for row in rows]
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    trainer = train_trl(model, tokenizer, pairs, Path(out), steps=int(steps), batch=int(batch))
    trainer.save_model(out)


if __name__ == "__main__":
    main()
