"""Greedy generation, by four routes."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import pytest
import torch

from transferlens.engine.adapters import with_saved_adapter
from transferlens.engine.base import Base
from transferlens.engine.generate import generate, generate_plainly
from transferlens.errors import EngineError

PROMPTS = [
    "Q: What is 12 + 30? A:",
    "",
    "The cat sat on the mat while the dog slept near the door. It was",
    "Is the review positive or negative?",
    "東京 is",
    "a",
]


def library_text(base: Base, prompt: tuple[int, ...], n: int) -> tuple[list[int], bool]:
    """Return the tokens that ``model.generate`` writes, and whether an end token followed."""
    out = base.model.generate(
        torch.tensor([prompt]),
        attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
        do_sample=False,
        max_new_tokens=n,
        eos_token_id=sorted(base.codec.stops),
        pad_token_id=base.codec.pad,
    )
    written = out[0, len(prompt) :].tolist()
    ended = bool(written) and written[-1] in base.codec.stops
    return (written[:-1] if ended else written), ended


def first_words(base: Base, n: int = 12) -> list[str]:
    return [
        found.text
        for found in generate_plainly(base, base.codec.prompts(PROMPTS), max_new_tokens=n, stop=())
    ]


@pytest.mark.parametrize("batch_tokens", [1, 120, 100_000])
def test_generation_agrees_with_transformers_token_by_token(base, batch_tokens):
    prompts = base.codec.prompts(PROMPTS)
    found = generate(base, prompts, max_new_tokens=12, stop=(), batch_tokens=batch_tokens)
    assert found == generate_plainly(base, prompts, max_new_tokens=12, stop=())
    for prompt, completion in zip(prompts, found, strict=True):
        written, ended = library_text(base, prompt, 12)
        assert completion.text == base.codec.decode(written)
        assert completion.n_tokens == len(written)
        assert completion.truncated is not ended


def test_the_tokens_themselves_agree_and_not_only_their_text(base_of):
    """Random bytes can decode to the same replacement character, so compare token by token."""
    for family in ("llama", "gpt2", "qwen2"):
        base = base_of(family)
        prompts = base.codec.prompts(PROMPTS)
        codec = replace(base.codec, tokenizer=_SpellingTokenizer())
        found = generate(
            replace(base, codec=codec), prompts, max_new_tokens=9, stop=(), batch_tokens=200
        )
        for prompt, completion in zip(prompts, found, strict=True):
            written = library_text(base, prompt, 9)[0]
            assert completion.text == " ".join(map(str, written))


class _SpellingTokenizer:
    """Decodes tokens as their numbers."""

    added_tokens_decoder: ClassVar[dict] = {}

    def decode(self, tokens, **_):
        return " ".join(map(str, tokens))


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen2"])
def test_an_adapter_writes_as_in_transformers(base_of, adapter_of, family):
    base = base_of(family)
    prompts = base.codec.prompts(PROMPTS)
    plain = generate(base, prompts, max_new_tokens=8, stop=(), batch_tokens=500)
    with with_saved_adapter(base.model, adapter_of(family)):
        found = generate(base, prompts, max_new_tokens=8, stop=(), batch_tokens=500)
        for prompt, completion in zip(prompts, found, strict=True):
            assert completion.text == base.codec.decode(library_text(base, prompt, 8)[0])
    assert found != plain


def test_the_real_model_tells_the_story_that_transformers_tells(stories):
    prompts = stories.codec.prompts(["Once upon a time", "Lily had a red", "The dog", ""])
    found = generate(stories, prompts, max_new_tokens=40, stop=(), batch_tokens=1000)
    for prompt, completion in zip(prompts, found, strict=True):
        assert completion.text == stories.codec.decode(library_text(stories, prompt, 40)[0])
    assert "there was a little" in found[0].text


def test_a_stop_text_cuts_the_completion_before_it(base):
    for number, full in enumerate(first_words(base)):
        prompt = base.codec.prompts([PROMPTS[number]])
        if len(full) < 6:
            continue
        mark = full[4:6]
        found = generate(base, prompt, max_new_tokens=12, stop=("@@@", mark), batch_tokens=100)[0]
        assert found.text == full[: full.index(mark)]
        assert not found.truncated
        assert found.n_tokens <= 12
        assert found == generate_plainly(base, prompt, max_new_tokens=12, stop=(mark,))[0]


def test_the_stop_text_that_comes_first_counts(llama):
    full = max(first_words(llama), key=len)
    prompt = llama.codec.prompts([PROMPTS[first_words(llama).index(full)]])
    early, late = full[2:4], full[7:9]
    for stop in [(early, late), (late, early)]:
        found = generate(llama, prompt, max_new_tokens=12, stop=stop, batch_tokens=100)[0]
        assert found.text == full[: min(full.index(early), full.index(late))]


def test_an_empty_stop_text_has_no_effect(llama):
    prompts = llama.codec.prompts(PROMPTS)
    free = generate(llama, prompts, max_new_tokens=5, stop=(), batch_tokens=100)
    assert generate(llama, prompts, max_new_tokens=5, stop=("",), batch_tokens=100) == free


def test_a_special_token_can_be_a_stop_text(llama):
    """Chat models end a turn with a token that is left out of decoded text."""
    prompt = llama.codec.prompts(["The cat sat"])
    turn = llama.codec.tokenizer.convert_tokens_to_ids("<|turn|>")
    with _favour(llama, turn, after=2):
        free = generate(llama, prompt, max_new_tokens=6, stop=(), batch_tokens=100)[0]
    with _favour(llama, turn, after=2):
        found = generate(llama, prompt, max_new_tokens=6, stop=("<|turn|>",), batch_tokens=100)[0]
    assert free.truncated
    assert (found.n_tokens, found.truncated) == (2, False)
    assert free.text.startswith(found.text)


class _favour:  # noqa: N801 - used as a function
    """Make a model write a token from a given step on."""

    def __init__(self, base: Base, token: int, *, after: int) -> None:
        self.base, self.token, self.after, self.calls = base, token, after, 0

    def __enter__(self) -> None:
        self.handle = self.base.model.lm_head.register_forward_hook(self._raise)

    def __exit__(self, *_: object) -> None:
        self.handle.remove()

    def _raise(self, _module, _inputs, logits):
        self.calls += 1
        if self.calls > self.after:
            logits[..., self.token] = 1e4
        return logits


def test_every_end_token_that_the_model_names_ends_a_completion(llama):
    prompt = llama.codec.prompts(["The cat sat"])
    first = library_text(llama, prompt[0], 4)[0]
    codec = replace(llama.codec, stops=frozenset({first[2], 399}))
    found = generate(
        replace(llama, codec=codec), prompt, max_new_tokens=9, stop=(), batch_tokens=50
    )[0]
    assert found.text == codec.decode(first[: first.index(first[2])])
    assert not found.truncated


def test_the_last_allowed_token_marks_a_completion_as_truncated(llama):
    found = generate(
        llama, llama.codec.prompts(PROMPTS), max_new_tokens=3, stop=(), batch_tokens=90
    )
    assert [(f.n_tokens, f.truncated) for f in found] == [(3, True)] * len(PROMPTS)


def test_a_completion_ends_where_the_context_ends_and_says_so(llama):
    prompts = [tuple(range(10, 40)), tuple(range(10, 15))]
    found = generate(llama, prompts, max_new_tokens=9, stop=(), batch_tokens=200, max_length=33)
    assert [(f.n_tokens, f.truncated) for f in found] == [(3, True), (9, True)]
    whole = generate_plainly(llama, prompts, max_new_tokens=9, stop=())
    assert whole[0].text.startswith(found[0].text.rstrip("�"))
    assert found[1] == whole[1]


def test_neither_order_nor_company_of_prompts_matters(llama):
    prompts = llama.codec.prompts(PROMPTS * 2)
    together = generate(llama, prompts, max_new_tokens=10, stop=("e",), batch_tokens=10_000)
    reverse = generate(llama, prompts[::-1], max_new_tokens=10, stop=("e",), batch_tokens=77)
    alone = [
        generate(llama, [p], max_new_tokens=10, stop=("e",), batch_tokens=10)[0] for p in prompts
    ]
    assert together == reverse[::-1] == alone


def test_nan_is_refused_and_not_written_down(llama):
    prompts = llama.codec.prompts(["a"])
    spoilt = llama.model.lm_head.register_forward_hook(lambda _m, _i, out: out * float("nan"))
    try:
        with pytest.raises(EngineError, match="NaN"):
            generate(llama, prompts, max_new_tokens=3, stop=(), batch_tokens=9)
    finally:
        spoilt.remove()
