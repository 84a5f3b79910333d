"""Statistics of paired scores: NumPy in, NumPy out, no labels.

NaN means "not scored" throughout; randomness comes only from the generator
that is passed in.
"""

from __future__ import annotations

from transferlens.stats.additive import AdditiveEffects, AdditiveModel, shared_standard_error
from transferlens.stats.asymmetry import (
    AsymmetrySplit,
    AsymmetryTest,
    PairDirections,
    asymmetry_test,
    pair_directions,
    split_asymmetry,
)
from transferlens.stats.bootstrap import BootstrapMethod, bootstrap_cells, paired_bootstrap
from transferlens.stats.components import VarianceComponents, variance_components
from transferlens.stats.differences import paired_differences
from transferlens.stats.mantel import Mantel, mantel
from transferlens.stats.mcnemar import (
    McNemarMethod,
    mcnemar_cells,
    mcnemar_p_value,
    mcnemar_test,
    paired_proportion_interval,
)
from transferlens.stats.mrqap import (
    PermutationRegression,
    most_predictors,
    mrqap,
    source_regression,
)
from transferlens.stats.multiplicity import AdjustMethod, adjust_p_values, max_t
from transferlens.stats.power import (
    detectable_difference,
    detectable_effect,
    examples_needed,
    mcnemar_power,
)
from transferlens.stats.proportions import (
    Interval,
    ProportionMethod,
    bootstrap_mean_interval,
    mean_interval,
    proportion_interval,
)
from transferlens.stats.resampling import SharedWeights, bootstrap_weights, random_signs
from transferlens.stats.results import PairedTest, PairedTests
from transferlens.stats.roles import Hubs, RoleEffects, Roles, hubs, roles
from transferlens.stats.seeds import TwoWayTests, two_way_test
from transferlens.stats.signflip import sign_flip_cells, sign_flip_test

__all__ = [
    "AdditiveEffects",
    "AdditiveModel",
    "AdjustMethod",
    "AsymmetrySplit",
    "AsymmetryTest",
    "BootstrapMethod",
    "Hubs",
    "Interval",
    "Mantel",
    "McNemarMethod",
    "PairDirections",
    "PairedTest",
    "PairedTests",
    "PermutationRegression",
    "ProportionMethod",
    "RoleEffects",
    "Roles",
    "SharedWeights",
    "TwoWayTests",
    "VarianceComponents",
    "adjust_p_values",
    "asymmetry_test",
    "bootstrap_cells",
    "bootstrap_mean_interval",
    "bootstrap_weights",
    "detectable_difference",
    "detectable_effect",
    "examples_needed",
    "hubs",
    "mantel",
    "max_t",
    "mcnemar_cells",
    "mcnemar_p_value",
    "mcnemar_power",
    "mcnemar_test",
    "mean_interval",
    "most_predictors",
    "mrqap",
    "pair_directions",
    "paired_bootstrap",
    "paired_differences",
    "paired_proportion_interval",
    "proportion_interval",
    "random_signs",
    "roles",
    "shared_standard_error",
    "sign_flip_cells",
    "sign_flip_test",
    "source_regression",
    "split_asymmetry",
    "two_way_test",
    "variance_components",
]
