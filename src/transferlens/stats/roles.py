"""Which sources give, which targets take, and which tasks do both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from transferlens.errors import AnalysisError
from transferlens.stats.additive import AdditiveModel
from transferlens.stats.arrays import FloatArray, checked_level, float_array

__all__ = ["Hubs", "RoleEffects", "Roles", "hubs", "roles"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RoleEffects:
    """Effects with two errors: for exactly these tasks, and for tasks like these."""

    estimate: FloatArray
    """Effect above or below the average, (task,); NaN without cells."""

    standard_error: FloatArray
    """Error of measurement, with these sources and targets fixed; NaN if not known."""

    low: FloatArray
    """Lower end of the interval for measurement error."""

    high: FloatArray
    """Upper end of the interval for measurement error."""

    standard_error_tasks: FloatArray
    """Error if the other side's tasks were another sample, from the residuals."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Roles:
    """How much each source gives and each target takes, beyond the average."""

    grand: float
    """Gain of an average cell."""

    donor: RoleEffects
    """Per source: what it gives to every target, beyond an average source."""

    recipient: RoleEffects
    """Per target: what it takes from every source, beyond an average target."""

    covariance: FloatArray
    """Error covariance of all donor effects followed by all recipient effects."""

    confidence: float
    """Nominal coverage of the intervals."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Hubs:
    """Tasks as donor and recipient at once; arrays are (task,)."""

    hub: FloatArray
    """Mean of donor and recipient effect: how well the task is connected."""

    hub_low: FloatArray
    """Lower end of its interval."""

    hub_high: FloatArray
    """Upper end of its interval."""

    balance: FloatArray
    """Donor minus recipient effect: above 0 the task gives more than it takes."""

    balance_low: FloatArray
    """Lower end of its interval."""

    balance_high: FloatArray
    """Upper end of its interval."""

    label: tuple[str, ...]
    """``hub``, ``donor``, ``recipient``, ``isolate`` or ``unclear``, from the intervals."""


def roles(
    gains: ArrayLike,
    standard_error: ArrayLike | None = None,
    *,
    shared: ArrayLike | None = None,
    confidence: float = 0.95,
) -> Roles:
    """Estimate how much each source gives and each target takes.

    Effects are those of the additive model, by least squares, so that a source
    is not praised for having been evaluated on easy targets only.

    Parameters
    ----------
    gains
        Gains (source, target) on one scale, such as normalized gains; NaN marks
        a cell that is unknown or is not transfer (a source's own target).
    standard_error
        Of each gain, same shape and unit. Without it the intervals are NaN.
    shared
        Standard error that all gains on a target have in common, (target,), see
        `shared_standard_error`. Without it the errors of recipient effects are
        understated and those of donor effects overstated.
    confidence
        Nominal coverage of the intervals.

    Returns
    -------
    Roles
        Effects sum to 0 on each side.

    Raises
    ------
    AnalysisError
        Shapes differ, a known gain has no standard error, or the known cells
        are not connected.
    """
    matrix = float_array(gains, name="gains", ndim=2)
    known = ~np.isnan(matrix)
    model = AdditiveModel(known)
    effects = model.fit(matrix)
    variance = _variance(matrix, standard_error)
    common = None if shared is None else float_array(shared, name="shared", ndim=1) ** 2
    if common is not None:
        variance = np.maximum(variance - common, 0.0)
    measured = model.covariance(variance, shared=common)
    freedom = known.sum() - known.any(axis=1).sum() - known.any(axis=0).sum() + 1
    spread = np.nansum(effects.residual**2) / freedom if freedom > 0 else np.nan
    sampled = model.covariance(np.full(matrix.shape, spread))
    z = float(stats.norm.ppf(0.5 + checked_level(confidence, name="confidence") / 2.0))
    n = len(matrix)
    return Roles(
        grand=effects.grand,
        donor=_role(effects.source, measured[:n, :n], sampled[:n, :n], z),
        recipient=_role(effects.target, measured[n:, n:], sampled[n:, n:], z),
        covariance=measured,
        confidence=confidence,
    )


def _variance(gains: FloatArray, standard_error: ArrayLike | None) -> FloatArray:
    if standard_error is None:
        return np.full(gains.shape, np.nan)
    error = float_array(standard_error, name="standard_error", ndim=2)
    if error.shape != gains.shape:
        msg = f"standard_error has shape {error.shape} but gains have {gains.shape}"
        raise AnalysisError(msg)
    lacking = int((~np.isnan(gains) & ~(error >= 0.0)).sum())
    if lacking:
        msg = f"{lacking} known gains have no standard error; measure them or set the gain to NaN"
        raise AnalysisError(msg)
    variance: FloatArray = error**2
    return variance


def _role(estimate: FloatArray, measured: FloatArray, sampled: FloatArray, z: float) -> RoleEffects:
    # Rounding may leave a variance of 0 slightly negative.
    error = np.sqrt(np.maximum(np.diag(measured), 0.0)) + 0.0 * estimate
    return RoleEffects(
        estimate=estimate,
        standard_error=error,
        low=estimate - z * error,
        high=estimate + z * error,
        standard_error_tasks=np.sqrt(np.maximum(np.diag(sampled), 0.0)) + 0.0 * estimate,
    )


def hubs(estimated: Roles) -> Hubs:
    """Combine the two roles of tasks that are both sources and targets.

    A task is a ``hub`` if donor and recipient intervals both lie above 0, a
    ``donor`` or ``recipient`` if only that one does, an ``isolate`` if both lie
    below 0, and ``unclear`` otherwise.

    Parameters
    ----------
    estimated
        Roles of a square matrix with the same tasks in the same order on both axes.

    Returns
    -------
    Hubs
        In the unit of the gains.

    Raises
    ------
    AnalysisError
        The numbers of sources and targets differ.
    """
    donor, recipient = estimated.donor, estimated.recipient
    n = len(donor.estimate)
    if n != len(recipient.estimate):
        msg = (
            f"{n} sources and {len(recipient.estimate)} targets; a hub is a task that is both, "
            "so keep the common tasks in the same order"
        )
        raise AnalysisError(msg)
    z = float(stats.norm.ppf(0.5 + estimated.confidence / 2.0))
    cross = np.diag(estimated.covariance[:n, n:])
    squares = donor.standard_error**2 + recipient.standard_error**2
    hub = (donor.estimate + recipient.estimate) / 2.0
    hub_half = z * np.sqrt(np.maximum(squares + 2.0 * cross, 0.0)) / 2.0
    balance = donor.estimate - recipient.estimate
    balance_half = z * np.sqrt(np.maximum(squares - 2.0 * cross, 0.0))
    return Hubs(
        hub=hub,
        hub_low=hub - hub_half,
        hub_high=hub + hub_half,
        balance=balance,
        balance_low=balance - balance_half,
        balance_high=balance + balance_half,
        label=tuple(_label(donor, recipient, task) for task in range(n)),
    )


def _label(donor: RoleEffects, recipient: RoleEffects, task: int) -> str:
    gives, takes = donor.low[task] > 0, recipient.low[task] > 0
    if gives and takes:
        return "hub"
    if gives or takes:
        return "donor" if gives else "recipient"
    below = donor.high[task] < 0 and recipient.high[task] < 0
    return "isolate" if below else "unclear"
