"""Latent traits: what a transfer matrix is made of, and whether to believe it."""

from transferlens.traits.align import Match, Procrustes, congruence, match, procrustes
from transferlens.traits.analysis import Resamples, decompose_traits
from transferlens.traits.arrays import correlation
from transferlens.traits.decompose import PCA, PaperPCA, paper_pca, pca
from transferlens.traits.dominance import Dominance, find_dominance
from transferlens.traits.draws import StudyMatrix, study_matrix
from transferlens.traits.factor import (
    FactorAnalysis,
    Parts,
    factor_analysis,
    factor_scores,
    non_negative,
    sparse_components,
)
from transferlens.traits.impute import Completion, complete, complete_by_one_component
from transferlens.traits.labelled import prepare_labelled
from transferlens.traits.model import Decomposition, Method, Model, RotationName
from transferlens.traits.naming import TraitName, name_trait
from transferlens.traits.number import (
    CrossValidation,
    NumberOfTraits,
    ParallelAnalysis,
    choose_number,
    em_cross_validation,
    kaiser_rule,
    parallel_analysis,
    velicer_map,
)
from transferlens.traits.prepare import Transform, logit_scores, prepare, zscores
from transferlens.traits.result import Traits
from transferlens.traits.rotate import Rotation, oblimin, promax, tidy, varimax
from transferlens.traits.seriate import Clusters, Seriation, cluster, path_length, seriate
from transferlens.traits.stability import (
    LeaveOneOut,
    Stability,
    bootstrap_given,
    bootstrap_rows,
    each_alone,
    leave_one_row_out,
    pca_fit,
)

__all__ = [
    "PCA",
    "Clusters",
    "Completion",
    "CrossValidation",
    "Decomposition",
    "Dominance",
    "FactorAnalysis",
    "LeaveOneOut",
    "Match",
    "Method",
    "Model",
    "NumberOfTraits",
    "PaperPCA",
    "ParallelAnalysis",
    "Parts",
    "Procrustes",
    "Resamples",
    "Rotation",
    "RotationName",
    "Seriation",
    "Stability",
    "StudyMatrix",
    "TraitName",
    "Traits",
    "Transform",
    "bootstrap_given",
    "bootstrap_rows",
    "choose_number",
    "cluster",
    "complete",
    "complete_by_one_component",
    "congruence",
    "correlation",
    "decompose_traits",
    "each_alone",
    "em_cross_validation",
    "factor_analysis",
    "factor_scores",
    "find_dominance",
    "kaiser_rule",
    "leave_one_row_out",
    "logit_scores",
    "match",
    "name_trait",
    "non_negative",
    "oblimin",
    "paper_pca",
    "parallel_analysis",
    "path_length",
    "pca",
    "pca_fit",
    "prepare",
    "prepare_labelled",
    "procrustes",
    "promax",
    "seriate",
    "sparse_components",
    "study_matrix",
    "tidy",
    "varimax",
    "velicer_map",
    "zscores",
]
