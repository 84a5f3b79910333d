"""Log-likelihoods of choices, by four routes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from transferlens.engine.adapters import with_saved_adapter
from transferlens.engine.base import Base
from transferlens.engine.choices import score_choices, score_choices_plainly
from transferlens.engine.encode import ChoiceItem
from transferlens.engine.forward import logits_at
from transferlens.errors import EngineError

QUESTIONS = [
    ("Q: What is 12 + 30? A:", [" 42", " 7", " forty two hundred", " 42"]),
    ("", ["yes", "no way at all", " maybe the cat sat on the mat"]),
    ("The cat sat on the mat while the dog slept near the door. It was", [" true", " false"]),
    ("Is the review positive or negative?", [" positive", " negative", " x y z w", "!"]),
    ("東京 is", [" far away", " naïve", "\n\n3 €"]),
    ("a", [" the", " a"]),
]
TOLERANCE = 1e-4


def items_of(base: Base, questions=QUESTIONS) -> list[ChoiceItem]:
    items = []
    for prompt, choices in questions:
        pairs = base.codec.pairs([prompt] * len(choices), choices)
        items.append(ChoiceItem(pairs[0].context, tuple(pair.continuation for pair in pairs)))
    return items


@torch.no_grad()
def naive_scores(base: Base, items: Sequence[ChoiceItem]) -> list[list[float]]:
    """Whole forward passes of one row, by transformers alone, in double precision at the end."""
    scores = []
    for item in items:
        scores.append([])
        for choice in item.choices:
            row = torch.tensor([item.context + choice])
            expected = base.model(input_ids=row).logits[0].double().log_softmax(-1)
            start = len(item.context)
            gold = row[0, start:, None]
            scores[-1].append(expected[start - 1 : -1].gather(1, gold).sum().item())
    return scores


def flat(scores: Sequence[Sequence[float]]) -> np.ndarray:
    return np.concatenate([np.array(row) for row in scores])


@pytest.mark.parametrize("batch_tokens", [1, 40, 100_000])
def test_scores_agree_with_transformers_called_naively(base, batch_tokens):
    items = items_of(base)
    fast = score_choices(base, items, batch_tokens=batch_tokens)
    truth = flat(naive_scores(base, items))
    assert [len(row) for row in fast] == [len(item.choices) for item in items]
    np.testing.assert_allclose(flat(fast), truth, atol=TOLERANCE, rtol=0)
    np.testing.assert_allclose(
        flat(score_choices_plainly(base, items)), truth, atol=TOLERANCE, rtol=0
    )
    # The agreement says something only where the scores differ from each other.
    assert truth.std() > 100 * TOLERANCE


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox", "gemma3"])
def test_scores_of_an_adapter_agree_with_transformers_called_naively(base_of, adapter_of, family):
    base = base_of(family)
    items = items_of(base)
    plain = flat(score_choices(base, items, batch_tokens=100))
    with with_saved_adapter(base.model, adapter_of(family)):
        fast = flat(score_choices(base, items, batch_tokens=100))
        np.testing.assert_allclose(fast, flat(naive_scores(base, items)), atol=TOLERANCE, rtol=0)
    assert np.abs(fast - plain).max() > 0.1


def test_scores_of_the_real_model_agree_with_transformers_called_naively(stories):
    items = items_of(stories)
    fast = flat(score_choices(stories, items, batch_tokens=64))
    np.testing.assert_allclose(fast, flat(naive_scores(stories, items)), atol=TOLERANCE, rtol=0)


def test_the_same_items_give_the_same_bits(base):
    items = items_of(base)
    first = score_choices(base, items, batch_tokens=50)
    assert score_choices(base, items, batch_tokens=50) == first


tokens = st.integers(4, 390)
drawn_items = st.lists(
    st.builds(
        ChoiceItem,
        st.lists(tokens, min_size=1, max_size=20).map(tuple),
        st.lists(st.lists(tokens, min_size=1, max_size=6).map(tuple), min_size=1, max_size=4).map(
            tuple
        ),
    ),
    min_size=1,
    max_size=6,
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(items=drawn_items, batch_tokens=st.integers(1, 200))
def test_no_choice_feels_what_it_is_batched_with(llama, items, batch_tokens):
    fast = flat(score_choices(llama, items, batch_tokens=batch_tokens))
    alone = flat([row for item in items for row in score_choices_plainly(llama, [item])])
    np.testing.assert_allclose(fast, alone, atol=TOLERANCE, rtol=0)


def test_first_tokens_form_a_probability_distribution(llama):
    """Over the whole vocabulary the probabilities of one-token choices sum to one."""
    item = ChoiceItem((5, 6, 7), tuple((token,) for token in range(len(llama.codec.tokenizer))))
    scores = np.array(score_choices(llama, [item], batch_tokens=8)[0])
    assert np.exp(scores).sum() == pytest.approx(1.0, abs=1e-5)


def test_the_padding_token_changes_nothing(llama):
    items = items_of(llama)
    other = replace(llama, codec=replace(llama.codec, pad=77))
    assert score_choices(other, items, batch_tokens=500) == score_choices(
        llama, items, batch_tokens=500
    )


def test_a_tick_reports_every_item_once(llama):
    items = items_of(llama)
    seen = []
    score_choices(llama, items, batch_tokens=30, tick=lambda *done: seen.append(done))
    assert sum(n for n, _ in seen) == len(items)
    assert sum(n for _, n in seen) == sum(
        len(item.context) + sum(map(len, item.choices)) for item in items
    )


def test_a_model_that_computes_nan_is_refused_and_not_scored(llama):
    weight = next(llama.model.parameters())
    kept = weight.data.clone()
    try:
        weight.data.fill_(float("nan"))
        for choices in [((5,), (6,)), ((5, 6), (7, 8))]:
            with pytest.raises(EngineError, match=r"NaN.*learning_rate"):
                score_choices(llama, [ChoiceItem((4,), choices)], batch_tokens=10)
    finally:
        weight.data.copy_(kept)


def test_logits_at_places_are_right_when_a_model_multiplies_by_its_output_layer_itself(llama):
    class Direct(torch.nn.Module):
        """Uses the output layer's weight without calling the layer."""

        def get_output_embeddings(self):
            return llama.model.lm_head

        def forward(self, row, **_):
            hidden = llama.model.model(row).last_hidden_state
            output = type("Output", (), {})()
            output.logits = hidden @ llama.model.lm_head.weight.T
            return output

    row = torch.tensor([[5, 6, 7, 8], [9, 10, 11, 12]])
    places = (torch.tensor([1, 0]), torch.tensor([2, 3]))
    with torch.no_grad():
        found, _ = logits_at(Direct(), row, places)
        torch.testing.assert_close(found, llama.model(row).logits[places])
