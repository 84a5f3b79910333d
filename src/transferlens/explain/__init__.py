"""Why an adapter helps or harms a task: mechanisms, one module or package each."""

from __future__ import annotations

from transferlens.explain.attribution import MECHANISMS, Attribution, Attributions
from transferlens.explain.cards import DatasetCard, dataset_card, study_cards
from transferlens.explain.confusion import Confusion, Confusions, confusion_habits
from transferlens.explain.factors import FactorEvidence, Factors
from transferlens.explain.formats import AnswerFormat, FormatEffects
from transferlens.explain.gallery import Gallery, GalleryExample, gallery
from transferlens.explain.labels import LabelShift, LabelShifts
from transferlens.explain.length import LengthEffects, OutputLength
from transferlens.explain.linguistic_story import CellLinguistics
from transferlens.explain.panels import ConfusionPair, LabelMixes, LengthHistogram
from transferlens.explain.skew import SkewTest, skew_test, study_skew_test
from transferlens.explain.story import Story, tell_stories, tell_story, with_linguistics
from transferlens.explain.surprises import surprises, task_similarity
from transferlens.explain.twins import TwinEffect, TwinEffects

__all__ = [
    "MECHANISMS",
    "AnswerFormat",
    "Attribution",
    "Attributions",
    "CellLinguistics",
    "Confusion",
    "ConfusionPair",
    "Confusions",
    "DatasetCard",
    "FactorEvidence",
    "Factors",
    "FormatEffects",
    "Gallery",
    "GalleryExample",
    "LabelMixes",
    "LabelShift",
    "LabelShifts",
    "LengthEffects",
    "LengthHistogram",
    "OutputLength",
    "SkewTest",
    "Story",
    "TwinEffect",
    "TwinEffects",
    "confusion_habits",
    "dataset_card",
    "gallery",
    "skew_test",
    "study_cards",
    "study_skew_test",
    "surprises",
    "task_similarity",
    "tell_stories",
    "tell_story",
    "with_linguistics",
]
