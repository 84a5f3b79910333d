"""Why an adapter helps or harms a task: mechanisms, one module or package each."""

from __future__ import annotations

from transferlens.explain.attribution import MECHANISMS, Attribution, Attributions
from transferlens.explain.confusion import Confusion, Confusions
from transferlens.explain.formats import AnswerFormat, FormatEffects
from transferlens.explain.labels import LabelShift, LabelShifts, SkewTest, skew_test
from transferlens.explain.length import LengthEffects, OutputLength
from transferlens.explain.story import Story, tell_story
from transferlens.explain.surprises import surprises

__all__ = [
    "MECHANISMS",
    "AnswerFormat",
    "Attribution",
    "Attributions",
    "Confusion",
    "Confusions",
    "FormatEffects",
    "LabelShift",
    "LabelShifts",
    "LengthEffects",
    "OutputLength",
    "SkewTest",
    "Story",
    "skew_test",
    "surprises",
    "tell_story",
]
