"""The tasks that come with the package: the offline suite, and cards for well-known datasets.

A card is a `TaskSpec` in YAML. It holds no data: it says where a dataset is
on the Hugging Face hub, and how its rows become prompts and answers.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import yaml
from pydantic import ValidationError

from transferlens.errors import SpecError, did_you_mean
from transferlens.study import DataSpec, TaskSpec

__all__ = ["card_names", "known_tasks", "load_card", "suite_names", "suite_spec"]

_CARDS = files("transferlens.tasks") / "cards"


@cache
def card_names() -> tuple[str, ...]:
    """Return the names of all task cards in alphabetical order."""
    names = (entry.name for entry in _CARDS.iterdir())
    return tuple(sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml")))


@cache
def load_card(name: str) -> TaskSpec:
    """Return the definition that a task card holds.

    Raises
    ------
    SpecError
        There is no such card, or it is not a valid definition.
    """
    if name not in card_names():
        msg = f"there is no task card {name!r}.{did_you_mean(name, card_names())}"
        raise SpecError(msg)
    text = (_CARDS / f"{name}.yaml").read_text(encoding="utf-8")
    try:
        return TaskSpec.model_validate(yaml.safe_load(text))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        msg = f"the task card {name!r} is damaged: {first['loc']}: {first['msg']}"
        raise SpecError(msg) from None


def suite_names() -> tuple[str, ...]:
    """Return the names of the built-in tasks."""
    from transferlens.tasks import suite

    return tuple(getattr(suite, "SUITE", ()))


def suite_spec(name: str) -> TaskSpec:
    """Return the definition of a built-in task; `suite_names` has its name."""
    from transferlens.tasks.suite import SUITE

    task = SUITE[name]
    length = {} if task.max_new_tokens is None else {"max_new_tokens": task.max_new_tokens}
    return TaskSpec(
        data=DataSpec(suite=name),
        choices=task.choices,
        metric=task.metric,
        extractor=task.extractor,
        family=task.family,
        description=task.description,
        **length,
    )


def known_tasks() -> dict[str, str]:
    """Return what each task that comes with the package is, in one line, by name."""
    specs = {name: load_card(name) for name in card_names()}
    specs |= {name: suite_spec(name) for name in suite_names()}
    return {name: (spec.description or "").strip().split("\n")[0] for name, spec in specs.items()}
