"""Questions of lm-evaluation-harness, cut into the tokens of its own Hugging Face model."""

from __future__ import annotations

from itertools import groupby

from transferlens.engine.encode import ChoiceItem, Codec
from transferlens.errors import DataError
from transferlens.tasks import HarnessTask

__all__ = ["harness_items", "harness_prompts"]


def harness_prompts(codec: Codec, harness: HarnessTask) -> list[tuple[int, ...]]:
    """Return the tokens of the prompts of answers to be written; white space at the end stays."""
    texts = [some[0].args[0] for some in harness.requests]
    return [tuple(tokens) or (codec.start,) for tokens in codec.encode(texts)]


def harness_items(codec: Codec, harness: HarnessTask) -> list[ChoiceItem]:
    """Return the tokens of all continuations, in the order of the examples.

    Continuations of an example that follow one another and share their prompt
    are one item, so that the prompt is read once.

    Raises
    ------
    DataError
        A continuation is no token.
    """
    asked = [request.args for some in harness.requests for request in some]
    pairs = iter(codec.pairs([c for c, _ in asked], [a for _, a in asked]))
    items = []
    for some in harness.requests:
        for _, shared in groupby(some, key=lambda request: request.args[0]):
            own = [next(pairs) for _ in shared]
            items.append(ChoiceItem(own[0].context, tuple(pair.continuation for pair in own)))
            if not all(items[-1].choices):
                msg = (
                    f"lm-eval's task {harness.name}: the tokenizer makes nothing of a choice after "
                    f"{some[0].args[0][-60:]!r}, so it has no likelihood"
                )
                raise DataError(msg)
    return items
