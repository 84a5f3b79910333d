"""A study's texts as tokens, checked against the model's context before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from transferlens.engine.encode import ChoiceItem, Codec, TrainingRow
from transferlens.engine.harness import harness_items, harness_prompts
from transferlens.engine.outline import Part
from transferlens.errors import DataError

__all__ = ["PreparedSource", "PreparedTarget", "prepare_source", "prepare_target"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedSource:
    """A source as rows of tokens."""

    part: Part
    rows: tuple[TrainingRow, ...]

    @property
    def tokens(self) -> int:
        """Tokens of one pass over the rows that have something to learn."""
        return sum(len(row.tokens) for row in self.rows if row.n_learnt)


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedTarget:
    """A target as tokens: ``items`` for choices, ``prompts`` for generation."""

    part: Part
    items: tuple[ChoiceItem, ...] = ()
    prompts: tuple[tuple[int, ...], ...] = ()
    max_length: int

    @property
    def read_tokens(self) -> int:
        """Tokens that an evaluation reads: prompts once, and all choices."""
        chosen = sum(len(i.context) + sum(len(c) for c in i.choices) for i in self.items)
        return chosen + sum(len(prompt) for prompt in self.prompts)

    @property
    def written_tokens(self) -> int:
        """Most tokens that an evaluation writes."""
        return len(self.prompts) * self.part.task.spec.max_new_tokens


def prepare_source(codec: Codec, part: Part, *, max_length: int) -> PreparedSource:
    """Return the training rows of a source; those longer than ``max_length`` tokens are cut.

    Raises
    ------
    DataError
        Not one row has a completion within ``max_length``.
    """
    separator = part.task.spec.separator
    rows = codec.training_rows(
        [example.prompt for example in part.examples],
        [separator + example.completion for example in part.examples],
        max_length=max_length,
    )
    if not any(row.n_learnt for row in rows):
        msg = (
            f"{part.task.where}: source {part.name!r}: every prompt alone fills {max_length} "
            "tokens, so there is nothing to learn; raise method.max_length or shorten the prompts"
        )
        raise DataError(msg)
    return PreparedSource(part=part, rows=tuple(rows))


def prepare_target(codec: Codec, part: Part, *, max_length: int) -> PreparedTarget:
    """Return the questions of a target.

    Raises
    ------
    DataError
        A prompt with its longest choice, or with one token of an answer, is
        longer than ``max_length`` tokens: cut, it would be another question.
    """
    if part.task.kind == "choice":
        items = harness_items(codec, part.harness) if part.harness else _items(codec, part)
        _check_lengths([item.longest for item in items], part, max_length)
        return PreparedTarget(part=part, items=tuple(items), max_length=max_length)
    if part.harness:
        prompts = harness_prompts(codec, part.harness)
        # lm-eval would cut a prompt that leaves no room for the longest answer.
        room = part.task.spec.max_new_tokens
    else:
        prompts, room = codec.prompts([example.prompt for example in part.examples]), 1
    _check_lengths([len(prompt) + room for prompt in prompts], part, max_length)
    return PreparedTarget(part=part, prompts=tuple(prompts), max_length=max_length)


def _items(codec: Codec, part: Part) -> list[ChoiceItem]:
    separator = part.task.spec.separator
    asked = [(e.prompt, separator + c) for e in part.examples for c in e.choices or ()]
    pairs = iter(codec.pairs([prompt for prompt, _ in asked], [answer for _, answer in asked]))
    items = []
    for example in part.examples:
        own = [next(pairs) for _ in example.choices or ()]
        for pair, choice in zip(own, example.choices or (), strict=True):
            if not pair.continuation:
                msg = (
                    f"{part.task.where}: target {part.name!r}: the tokenizer makes nothing of the "
                    f"choice {choice!r}, so it has no likelihood; reword it"
                )
                raise DataError(msg)
        items.append(ChoiceItem(own[0].context, tuple(pair.continuation for pair in own)))
    return items


def _check_lengths(lengths: Sequence[int], part: Part, max_length: int) -> None:
    longest = max(range(len(lengths)), key=lengths.__getitem__)
    if lengths[longest] > max_length:
        too_long = sum(length > max_length for length in lengths)
        msg = (
            f"{part.task.where}: target {part.name!r}: {too_long} of {len(lengths)} prompts do not "
            f"fit the context of {max_length} tokens; number {longest} has {lengths[longest]} with "
            "its answer; shorten the prompt template, drop those rows, or take a model that reads "
            "more"
        )
        raise DataError(msg)
