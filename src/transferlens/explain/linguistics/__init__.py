"""Linguistic features of texts, and which of them decide where an adapter helps."""

from transferlens.explain.linguistics.cache import user_cache
from transferlens.explain.linguistics.catalog import FEATURES, Feature
from transferlens.explain.linguistics.exact import ExactOddsRatio, exact_odds_ratio
from transferlens.explain.linguistics.lexicon import LexiconBackend
from transferlens.explain.linguistics.logit import LogitFits, penalized_logit
from transferlens.explain.linguistics.parser import ParserBackend, installed_model
from transferlens.explain.linguistics.prompts import example_features, without_template
from transferlens.explain.linguistics.result import LinguisticEvidence
from transferlens.explain.linguistics.sensitivity import LinguisticSensitivity
from transferlens.explain.linguistics.table import FeatureTable, backend_for, linguistic_features

__all__ = [
    "FEATURES",
    "ExactOddsRatio",
    "Feature",
    "FeatureTable",
    "LexiconBackend",
    "LinguisticEvidence",
    "LinguisticSensitivity",
    "LogitFits",
    "ParserBackend",
    "backend_for",
    "exact_odds_ratio",
    "example_features",
    "installed_model",
    "linguistic_features",
    "penalized_logit",
    "user_cache",
    "without_template",
]
