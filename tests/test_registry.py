"""A registry gives our own things and those of plug-ins, by name and only when asked."""

from __future__ import annotations

import pytest

from transferlens.errors import SpecError, did_you_mean
from transferlens.registry import Registry


class Point:
    """An entry point, as an installed plug-in would announce it."""

    def __init__(self, name, thing):
        self.name = name
        self.value = f"plugin:{name}"
        self.thing = thing
        self.loaded = 0

    def load(self):
        self.loaded += 1
        if isinstance(self.thing, Exception):
            raise self.thing
        return self.thing


@pytest.fixture
def points(monkeypatch):
    found = [Point("theirs", 7), Point("ours", 8), Point("broken", ImportError("no module x"))]

    def entry_points(*, group, name=None):
        assert group == "test.group"
        return [point for point in found if name in {None, point.name}]

    monkeypatch.setattr("transferlens.registry.entry_points", entry_points)
    return {point.name: point for point in found}


@pytest.fixture
def registry():
    things = Registry("thing", "test.group")
    things.register("ours")(1)
    return things


@pytest.mark.usefixtures("points")
def test_our_own_win_over_plug_ins_of_the_same_name(registry):
    assert registry.get("ours") == 1


def test_a_plug_in_is_loaded_once_and_only_when_it_is_asked_for(registry, points):
    assert registry.names() == ("broken", "ours", "theirs")
    assert points["theirs"].loaded == 0
    assert registry.get("theirs") == registry.get("theirs") == 7
    assert points["theirs"].loaded == 1


@pytest.mark.usefixtures("points")
def test_a_plug_in_that_cannot_be_loaded_is_named(registry):
    message = "the thing 'broken' of 'plugin:broken' cannot be loaded: no module x"
    with pytest.raises(SpecError, match=message):
        registry.get("broken")


@pytest.mark.usefixtures("points")
def test_an_unknown_name_suggests_the_nearest_or_lists_all(registry):
    with pytest.raises(SpecError, match=r"unknown thing 'their'\. Did you mean 'theirs'\?"):
        registry.get("their")
    with pytest.raises(SpecError, match=r"unknown thing 'zzz'\. Known: broken, ours, theirs\."):
        registry.get("zzz")


def test_a_name_is_given_once(registry):
    with pytest.raises(SpecError, match="the thing 'ours' is registered already"):
        registry.register("ours")(2)


def test_registering_returns_the_thing_so_that_it_can_decorate():
    def thing():
        return 3

    assert Registry("thing", "test.group").register("x")(thing) is thing


def test_no_known_names_give_no_hint():
    assert not did_you_mean("a", [])
