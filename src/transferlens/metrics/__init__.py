"""Scores of answers, and gains of scores."""

from __future__ import annotations

# Importing a module of metrics enters them in METRICS.
from transferlens.metrics.answers import normalize_answer, read_number
from transferlens.metrics.base import METRICS, Metric, get_metric
from transferlens.metrics.code import code_block, code_similarity
from transferlens.metrics.extract import EXTRACTORS, Extractor, get_extractor
from transferlens.metrics.gains import gain, normalized_gain, perfection_gap_factor
from transferlens.metrics.overlap import rouge_l
from transferlens.metrics.running import code_runs
from transferlens.metrics.scorer import Scorer, scorer_for

__all__ = [
    "EXTRACTORS",
    "METRICS",
    "Extractor",
    "Metric",
    "Scorer",
    "code_block",
    "code_runs",
    "code_similarity",
    "gain",
    "get_extractor",
    "get_metric",
    "normalize_answer",
    "normalized_gain",
    "perfection_gap_factor",
    "read_number",
    "rouge_l",
    "scorer_for",
]
