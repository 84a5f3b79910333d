"""From texts to tokens."""

from __future__ import annotations

import pytest
from tiny_models import make_tokenizer, save_model
from tokenizers import processors
from transformers import AutoTokenizer

from transferlens.engine.base import load_codec
from transferlens.engine.encode import Codec
from transferlens.engine.outline import Part
from transferlens.engine.prepare import prepare_source, prepare_target
from transferlens.errors import DataError
from transferlens.study import StudySpec
from transferlens.tasks import Example, load_task

PROMPTS = ["The cat sat", "Q: What is 12?", "", "東京 is  "]
ANSWERS = [" on the mat", " 42", "yes", "far away"]


def test_prompt_and_answer_together_are_the_whole_text(base):
    codec = base.codec
    for prompt, answer, pair in zip(PROMPTS, ANSWERS, codec.pairs(PROMPTS, ANSWERS), strict=True):
        assert codec.decode(pair.context + pair.continuation) == prompt + answer


def test_a_start_token_stands_before_every_prompt_exactly_once(base_of):
    for family, bos in [("llama", True), ("gpt2", False)]:
        codec = base_of(family).codec
        start = codec.tokenizer.bos_token_id
        for pair in codec.pairs(PROMPTS, ANSWERS):
            tokens = pair.context + pair.continuation
            assert tokens.count(start) == (1 if bos else 0)
            assert not bos or tokens[0] == start
        written = codec.tokenizer.decode([codec.start]) + "The cat"
        assert codec.prompts([written])[0].count(codec.start) == 1


def test_nothing_is_lost_from_a_training_row_where_prompt_and_answer_merge(llama):
    """The harness's cut, which scores follow, drops what the merged token took: 'y' of 'yes'."""
    codec = llama.codec
    assert codec.decode(codec.pairs(["a"], ["yes"])[0].continuation) == "es"
    row = codec.training_rows(["a"], ["yes"], max_length=50)[0]
    assert codec.decode(row.tokens) == "ayes"
    assert row.tokens[: row.n_prompt] == codec.prompts(["a"])[0]


def test_an_empty_prompt_is_the_start_token(base):
    codec = base.codec
    pair = codec.pairs([""], ["yes"])[0]
    assert pair.context == (codec.start,)
    assert codec.decode(pair.continuation) == "yes"
    assert codec.prompts(["", "  "]) == [(codec.start,)] * 2


def test_a_training_row_is_prompt_completion_and_end(base):
    codec = base.codec
    rows = codec.training_rows(PROMPTS, ANSWERS, max_length=99)
    for row, pair in zip(rows, codec.pairs(PROMPTS, ANSWERS), strict=True):
        assert row.tokens == (*pair.context, *pair.continuation, codec.end)
        assert row.n_prompt == len(pair.context)
        assert row.n_learnt == len(pair.continuation) + 1


def closing_codec(tmp_path) -> Codec:
    """Return the codec of a tokenizer that puts an end token behind every text, as BERT's does."""
    tokenizer = make_tokenizer(bos=False)
    end = tokenizer.eos_token_id
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A <|end|>", pair="<s> $A $B <|end|>",
        special_tokens=[("<s>", tokenizer.convert_tokens_to_ids("<s>")), ("<|end|>", end)],
    )  # fmt: skip
    save_model(tmp_path, "gpt2")
    tokenizer.save_pretrained(tmp_path)
    assert AutoTokenizer.from_pretrained(tmp_path)("The cat")["input_ids"][-1] == end
    from tiny_models import folder_of

    return load_codec(folder_of(tmp_path))


def test_an_end_token_behind_every_text_does_not_come_between_prompt_and_answer(tmp_path):
    codec = closing_codec(tmp_path)
    for prompt, answer in zip(PROMPTS, ANSWERS, strict=True):
        pair = codec.pairs([prompt], [answer])[0]
        assert codec.end not in pair.context[1:] + pair.continuation
        assert codec.decode(pair.context + pair.continuation) == prompt + answer
    row = codec.training_rows(["The cat"], [" sat"], max_length=50)[0]
    assert row.tokens.count(codec.end) == 1
    assert codec.prompts(["The cat"])[0][-1] != codec.end


def part_of(examples, **task) -> Part:
    spec = StudySpec.from_dict(
        {
            "tasks": {"t": {"data": {"test": "x.jsonl"}, "prompt": "{{ q }}", **task}},
            "sources": ["t"],
            "targets": ["t"],
        }
    )
    loaded = load_task(spec.targets[0], spec, role="targets", index=0)
    return Part(name="t", task=loaded, role="targets", examples=tuple(examples))


CHOICES = {"choices": ["yes", "no"], "label": "a"}


def test_a_prompt_longer_than_the_context_is_refused_and_not_cut(llama):
    short = Example(prompt="a", completion="yes", gold="yes", choices=("yes", "no"))
    long = Example(prompt="cat " * 50, completion="yes", gold="yes", choices=("yes", "no"))
    part = part_of([short, long], **CHOICES)
    with pytest.raises(DataError, match=r"1 of 2 prompts do not fit the context of 20 tokens"):
        prepare_target(llama.codec, part, max_length=20)
    assert len(prepare_target(llama.codec, part, max_length=250).items) == 2


def test_a_choice_without_tokens_is_refused(llama):
    empty = Example(prompt="a", completion="yes", gold="yes", choices=("yes", ""))
    part = part_of([empty], separator="", **CHOICES)
    with pytest.raises(
        DataError, match=r"target 't': the tokenizer makes nothing of the choice ''"
    ):
        prepare_target(llama.codec, part, max_length=50)


def test_a_source_without_anything_to_learn_is_refused(llama):
    long = Example(prompt="cat " * 50, completion="yes", gold="yes", choices=None)
    with pytest.raises(DataError, match=r"every prompt alone fills 16 tokens"):
        prepare_source(llama.codec, part_of([long], **CHOICES), max_length=16)


def test_the_separator_stands_between_prompt_and_every_answer(llama):
    example = Example(prompt="a", completion="yes", gold="yes", choices=("yes", "no"))
    for separator in (" ", "\n", "\n\n"):
        part = part_of([example], separator=separator, **CHOICES)
        item = prepare_target(llama.codec, part, max_length=50).items[0]
        row = prepare_source(llama.codec, part, max_length=50).rows[0]
        assert [llama.codec.decode(choice) for choice in item.choices] == [
            separator + "yes", separator + "no",
        ]  # fmt: skip
        assert llama.codec.decode(row.tokens) == f"a{separator}yes"
        assert row.tokens[: row.n_prompt] == item.context
