"""Control adapters: twins that differ from a source in exactly one property of their training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, field_validator, model_validator

from transferlens.errors import SpecError, did_you_mean
from transferlens.study.part import Part, plain_name

__all__ = ["PROPERTIES", "ControlSpec", "Property", "SkewSpec", "check_controls"]

Property = Literal[
    "mislabelled",
    "balanced",
    "skewed",
    "truncated_outputs",
    "length_matched",
    "shuffled_words",
    "token_matched",
    "reseeded",
    "prompt_format",
]
PROPERTIES: tuple[Property, ...] = get_args(Property)
"""What a twin can differ in."""

_USUAL_STEP = 1000


class SkewSpec(Part):
    """How skewed the classes of a twin are."""

    share: Annotated[float, Field(gt=0, lt=1)]
    """Share of the rows that one class gets; the others share the rest as before."""
    label: str | None = None
    """That class; the source's most frequent one unless given."""


class ControlSpec(Part):
    """A twin: its source, and the one property in which it differs from it."""

    source: str
    """Name of the source that it is a twin of."""
    name: str = ""
    """Name of the twin; ``<source>-<property>`` unless given."""
    mislabelled: Literal[True] | None = None
    """Labels, or written answers, are permuted over the rows: each occurs as often as before."""
    balanced: Literal[True] | None = None
    """Every class has equally many rows; there are as many rows as before."""
    skewed: SkewSpec | None = None
    """One class has this share of the rows; there are as many rows as before."""
    truncated_outputs: Annotated[int, Field(ge=1, strict=True)] | None = None
    """Written answers end after so many words."""
    length_matched: str | None = None
    """Rows are chosen so that answers are as long, in words, as those of this other source."""
    shuffled_words: Literal[True] | None = None
    """The words of each line of the prompt are in random order; its format stays."""
    token_matched: str | None = None
    """As many training tokens as this other source, by fewer or more rows."""
    reseeded: Annotated[int, Field(ge=1, strict=True)] | None = None
    """Nothing differs but the seed of the training, which is so much larger. The differences
    it makes are the noise floor of the others."""
    prompt_format: str | None = None
    """Another template for the prompt, over the same columns."""

    @model_validator(mode="before")
    @classmethod
    def _one_property(cls, value: Any) -> Any:
        if not isinstance(value, dict) or not value.keys() <= cls.model_fields.keys():
            return value
        given = [name for name in PROPERTIES if value.get(name) is not None]
        if len(given) != 1:
            what = f"has {' and '.join(given)}" if given else "has none"
            msg = f"a control differs in exactly one property, and this one {what}; give one of "
            msg += ", ".join(PROPERTIES)
            raise ValueError(msg)
        if isinstance(value.get("source"), str) and "name" not in value:
            return {**value, "name": f"{value['source']}-{given[0]}"}
        return value

    @field_validator("skewed", mode="before")
    @classmethod
    def _share_alone(cls, value: Any) -> Any:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return {"share": value} if is_number else value

    @field_validator("reseeded", mode="before")
    @classmethod
    def _usual_step(cls, value: Any) -> Any:
        return _USUAL_STEP if value is True else value

    @field_validator("name")
    @classmethod
    def _plain(cls, name: str) -> str:
        return plain_name(name)

    @property
    def kind(self) -> Property:
        """The property in which the twin differs."""
        return next(name for name in PROPERTIES if getattr(self, name) is not None)

    @property
    def value(self) -> str | None:
        """The property's parameter as text; None where it has none."""
        value = getattr(self, self.kind)
        if isinstance(value, SkewSpec):
            return f"{value.share:g}" + (f" {value.label}" if value.label is not None else "")
        return None if value is True else str(value)


def check_controls(
    controls: Sequence[ControlSpec],
    *,
    sources: Sequence[str],
    seeds: Sequence[int],
    where: Callable[..., str],
) -> None:
    """Check what a control says of the rest of the study.

    Parameters
    ----------
    controls
        The twins.
    sources, seeds
        Names of the study's sources, and its seeds.
    where
        Path of a field -> ``file:line: field``, for messages.

    Raises
    ------
    SpecError
        A source is unknown, a name is taken, or a seed is one of the study's own.
    """
    taken = set(sources)
    for index, control in enumerate(controls):
        _check_sources(control, sources, lambda *path, index=index: where("controls", index, *path))
        place = where("controls", index)
        if control.name in taken:
            msg = (
                f"{place}: the name {control.name!r} is taken; give this control a name of its own"
            )
            raise SpecError(msg)
        taken.add(control.name)
        if control.reseeded and {seed + control.reseeded for seed in seeds} & set(seeds):
            msg = (
                f"{where('controls', index, 'reseeded')}: with {control.reseeded} added, a seed is "
                f"another of the study's; take more than {max(seeds) - min(seeds)}"
            )
            raise SpecError(msg)


def _check_sources(control: ControlSpec, sources: Sequence[str], where: Callable[..., str]) -> None:
    """Check the names of sources that a control holds."""
    for field in ("source", "length_matched", "token_matched"):
        name = getattr(control, field)
        if name is not None and name not in sources:
            hint = did_you_mean(name, sources)
            msg = f"{where(field)}: {name!r} is none of the study's sources.{hint}"
            raise SpecError(msg)
        if field != "source" and name == control.source:
            msg = f"{where(field)}: {name!r} is the source itself; name another one"
            raise SpecError(msg)
