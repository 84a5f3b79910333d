"""Dataset cards: numbers of a dataset, computed from its rows."""

from transferlens.explain.cards.card import (
    ClassProbabilities,
    DatasetCard,
    card_frame,
    dataset_card,
)
from transferlens.explain.cards.dataset import (
    Dataset,
    dataset_of_examples,
    dataset_of_rows,
    rows_of_file,
)
from transferlens.explain.cards.measures import MEASURES, Measure, confident_errors
from transferlens.explain.cards.study import StudyCards, study_cards

__all__ = [
    "MEASURES",
    "ClassProbabilities",
    "Dataset",
    "DatasetCard",
    "Measure",
    "StudyCards",
    "card_frame",
    "confident_errors",
    "dataset_card",
    "dataset_of_examples",
    "dataset_of_rows",
    "rows_of_file",
    "study_cards",
]
