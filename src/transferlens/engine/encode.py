"""From texts to tokens, cut between prompt and answer exactly as lm-evaluation-harness does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["ChoiceItem", "Codec", "Pair", "TrainingRow"]


@dataclass(frozen=True, slots=True)
class Pair:
    """Tokens of a prompt, and of an answer that follows it."""

    context: tuple[int, ...]
    continuation: tuple[int, ...]

    def __len__(self) -> int:
        """Tokens of both."""
        return len(self.context) + len(self.continuation)


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """Tokens of a prompt with its completion; only the completion is learnt."""

    tokens: tuple[int, ...]
    n_prompt: int
    truncated: bool

    @property
    def n_learnt(self) -> int:
        """Tokens on which a loss is taken; 0 where the prompt alone fills the row."""
        return max(len(self.tokens) - self.n_prompt, 0)


@dataclass(frozen=True, slots=True)
class ChoiceItem:
    """Tokens of a prompt, and of each choice that may follow it (at least one token each)."""

    context: tuple[int, ...]
    choices: tuple[tuple[int, ...], ...]

    @property
    def is_short(self) -> bool:
        """Whether every choice is a single token."""
        return all(len(choice) == 1 for choice in self.choices)

    @property
    def longest(self) -> int:
        """Tokens of the prompt with its longest choice."""
        return len(self.context) + max(len(choice) for choice in self.choices)


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """A tokenizer with what the engine must know of its special tokens."""

    tokenizer: PreTrainedTokenizerBase
    end: int | None
    """Token that ends a completion; None where the model knows none."""
    stops: frozenset[int]
    """Tokens at which a generation ends."""
    start: int
    """Stands for the prompt where a prompt is empty."""
    pad: int
    """Fills up batches. No real token ever sees it, so any token will do."""
    closing: int = 0
    """Special tokens that the tokenizer puts behind every text. They are left
    out: an answer must follow its prompt, and only a completion is ended."""

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of texts, with the special tokens that the tokenizer puts first."""
        if not texts:
            return []
        # A text that brings its own first token must not get another.
        opening = str(self.tokenizer.decode([self.start]))
        bare = [bool(opening) and text.startswith(opening) for text in texts]
        tokens: list[list[int]] = [[] for _ in texts]
        for flag in {*bare}:
            places = [i for i, value in enumerate(bare) if value is flag]
            # What is too long for the model is refused or cut later, and said there.
            encoded = self.tokenizer(
                [texts[i] for i in places], add_special_tokens=not flag, verbose=False
            )
            for i, ids in zip(places, encoded["input_ids"], strict=True):
                tokens[i] = list(ids) if flag else list(ids[: len(ids) - self.closing])
        return tokens

    def pairs(
        self, prompts: Sequence[str], answers: Sequence[str], *, unmerged: bool = False
    ) -> list[Pair]:
        """Return the tokens of prompts and of the answers that follow them.

        White space at the end of a prompt goes to the answer; prompt and
        answer are encoded together, and what goes beyond the tokens of the
        prompt alone is the answer [1]_. Where the end of the prompt and the
        beginning of the answer merge into one token, that drops characters;
        with ``unmerged`` the answer is encoded on its own instead.

        References
        ----------
        .. [1] ``TemplateLM._encode_pair`` of lm-evaluation-harness 0.4.
           doi:10.5281/zenodo.10256836
        """
        stripped = [prompt.rstrip() for prompt in prompts]
        moved = [p[len(s) :] + a for p, s, a in zip(prompts, stripped, answers, strict=True)]
        # Many answers share their prompt, which need be encoded only once.
        distinct = list(dict.fromkeys(stripped))
        contexts = dict(zip(distinct, self.encode(distinct), strict=True))
        wholes = self.encode([s + a for s, a in zip(stripped, moved, strict=True)])
        return [
            self._cut(contexts[prompt] if prompt else [], whole, answer, unmerged=unmerged)
            for prompt, whole, answer in zip(stripped, wholes, moved, strict=True)
        ]

    def _cut(self, context: list[int], whole: list[int], answer: str, *, unmerged: bool) -> Pair:
        rest = whole[len(context) :]
        merged = whole[: len(context)] != context
        if not context or not rest or (unmerged and merged):
            # Without a rest, the prompt has swallowed the answer's tokens.
            rest = list(self.tokenizer(answer, add_special_tokens=False)["input_ids"])
        return Pair(tuple(context or [self.start]), tuple(rest))

    def prompts(self, prompts: Sequence[str]) -> list[tuple[int, ...]]:
        """Return the tokens of prompts alone."""
        return [tuple(ids) or (self.start,) for ids in self.encode([p.rstrip() for p in prompts])]

    def training_rows(
        self, prompts: Sequence[str], answers: Sequence[str], *, max_length: int
    ) -> list[TrainingRow]:
        """Return prompts with their completions, each ended by the end token.

        A row longer than ``max_length`` tokens is cut on the right.
        """
        ending = () if self.end is None else (self.end,)
        rows = []
        # Nothing may be missing from what is learnt; at the prompt's end it will be asked for.
        for pair in self.pairs(prompts, answers, unmerged=True):
            tokens = pair.context + pair.continuation + ending
            rows.append(
                TrainingRow(tokens[:max_length], len(pair.context), len(tokens) > max_length)
            )
        return rows

    def special_tokens(self, texts: Sequence[str]) -> frozenset[int]:
        """Return the special tokens that are written as one of the texts; decoding drops them."""
        known = self.tokenizer.added_tokens_decoder.items() if texts else ()
        return frozenset(i for i, token in known if token.special and token.content in texts)

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens, special ones left out."""
        return str(self.tokenizer.decode(list(tokens), skip_special_tokens=True))
