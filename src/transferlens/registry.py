"""Named things that other packages can add to."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from transferlens.errors import SpecError, did_you_mean

__all__ = ["Registry"]

T = TypeVar("T")


class Registry(Generic[T]):
    """Things of one kind by name: our own, and those of installed plug-ins.

    A plug-in announces itself with an entry point of the group
    ``entry_point_group``; its value is the thing itself. Plug-ins are looked
    up on the first request, and loaded only when they are asked for by name.

    Parameters
    ----------
    kind
        What the things are, for messages: ``"metric"``.
    entry_point_group
        Group of entry points, such as ``"transferlens.metrics"``.
    """

    def __init__(self, kind: str, entry_point_group: str) -> None:
        self.kind = kind
        self.entry_point_group = entry_point_group
        self._things: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that adds a thing under ``name``.

        Raises
        ------
        SpecError
            The name is taken.
        """

        def add(thing: T) -> T:
            if name in self._things:
                msg = f"the {self.kind} {name!r} is registered already; choose another name"
                raise SpecError(msg)
            self._things[name] = thing
            return thing

        return add

    def get(self, name: str) -> T:
        """Return the thing called ``name``; our own win over plug-ins.

        Raises
        ------
        SpecError
            Nothing has this name, or the plug-in that has it cannot be loaded.
        """
        if name not in self._things:
            self._things[name] = self._load(name)
        return self._things[name]

    def names(self) -> tuple[str, ...]:
        """Return all names, plug-ins included, in alphabetical order."""
        plugged = {point.name for point in entry_points(group=self.entry_point_group)}
        return tuple(sorted(plugged | set(self._things)))

    def _load(self, name: str) -> T:
        points = tuple(entry_points(group=self.entry_point_group, name=name))
        if not points:
            msg = f"unknown {self.kind} {name!r}.{did_you_mean(name, self.names())}"
            raise SpecError(msg)
        try:
            thing: T = points[0].load()
        except Exception as error:
            msg = f"the {self.kind} {name!r} of {points[0].value!r} cannot be loaded: {error}"
            raise SpecError(msg) from error
        return thing
