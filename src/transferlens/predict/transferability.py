"""How well features or class probabilities of a model fit the labels of a task.

All numbers are larger where transfer is expected to be better. They need the model's outputs
on labelled examples of the task, but no training on it.
"""

from __future__ import annotations

import numpy as np

from transferlens.errors import AnalysisError
from transferlens.stats.arrays import FloatArray, IntArray

__all__ = ["h_score", "leep", "log_me", "log_me_regression", "nce", "trans_rate"]

_ROUNDS = 11
_SETTLED = 1e-3
_TINY = 1e-5


def log_me(features: FloatArray, labels: IntArray) -> float:
    """Return the logarithm of maximum evidence, averaged over classes and examples.

    The evidence of a Bayesian linear model that predicts each class (0 or 1) from the
    features, with both variances at their best.

    Parameters
    ----------
    features
        Shape (example, feature).
    labels
        Class of each example, from 0.

    Returns
    -------
    float
        Log-evidence per example, in nats.

    Raises
    ------
    AnalysisError
        Shapes differ, or there is a single class.

    References
    ----------
    .. [1] You, Liu, Wang, Long. *LogME: practical assessment of pre-trained models for transfer
       learning*. 2021. arXiv:2102.11005
    """
    classes = _classes(features, labels)
    return log_me_regression(features, (labels[:, None] == classes).astype(np.float64))


def log_me_regression(features: FloatArray, values: FloatArray) -> float:
    """Return the same for numbers to predict, (example, number), averaged over the numbers."""
    if len(features) != len(values) or values.ndim != 2:
        msg = f"features {features.shape} and values {values.shape} differ in their examples"
        raise AnalysisError(msg)
    left, size, _ = np.linalg.svd(features, full_matrices=False)
    # Directions of rounding would count as directions of evidence.
    real = size > size.max(initial=0.0) * max(features.shape) * np.finfo(np.float64).eps
    squared = np.where(real, size**2, 0.0)
    found = [_evidence(column, left, squared, features.shape) for column in values.T]
    return float(np.mean(found))


def _evidence(
    y: FloatArray, left: FloatArray, squared: FloatArray, shape: tuple[int, ...]
) -> float:
    n, width = shape
    inside = (left.T @ y) ** 2
    outside = max(float((y**2).sum() - inside.sum()), 0.0)
    alpha = beta = 1.0
    evidence = -np.inf
    for _ in range(_ROUNDS):
        ratio = alpha / beta
        used = float((squared / (squared + ratio)).sum())
        weights = float((squared * inside / (ratio + squared) ** 2).sum())
        errors = float((inside / (1.0 + squared / ratio) ** 2).sum()) + outside
        alpha, beta = used / (weights + _TINY), (n - used) / (errors + _TINY)
        # Directions beyond the features' rank carry the prior alone.
        spectrum = np.concatenate([squared, np.zeros(max(width - len(squared), 0))])
        evidence = (
            width / 2.0 * np.log(alpha)
            + n / 2.0 * np.log(beta)
            - 0.5 * np.log(alpha + beta * spectrum).sum()
            - beta / 2.0 * errors
            - alpha / 2.0 * weights
            - n / 2.0 * np.log(2.0 * np.pi)
        )
        if abs(alpha / beta - ratio) <= _SETTLED * ratio:
            break
    return float(evidence / n)


def h_score(features: FloatArray, labels: IntArray) -> float:
    """Return the trace of the features' inverse covariance times that of their class means.

    References
    ----------
    .. [1] Bao et al. *An information-theoretic approach to transferability in task transfer
       learning*. 2019. doi:10.1109/ICIP.2019.8803726
    """
    classes = _classes(features, labels)
    means = np.zeros(features.shape)
    for label in classes:
        means[labels == label] = features[labels == label].mean(axis=0)
    covariance, between = (np.atleast_2d(np.cov(part, rowvar=False)) for part in (features, means))
    # The usual tolerance would drop directions that carry little variance but all classes.
    return float(np.trace(np.linalg.pinv(covariance, rcond=1e-15, hermitian=True) @ between))


def leep(probabilities: FloatArray, labels: IntArray) -> float:
    """Return the mean log-probability of the labels, predicted from a model's own classes.

    Parameters
    ----------
    probabilities
        Of the model's classes, which need not be those of the task, (example, class).
    labels
        Class of each example, from 0.

    Returns
    -------
    float
        At most 0, in nats.

    References
    ----------
    .. [1] Nguyen, Hassner, Seeger, Archambeau. *LEEP: a new measure to evaluate transferability
       of learned representations*. 2020. arXiv:2002.12462
    """
    classes = _classes(probabilities, labels)
    member = (labels[:, None] == classes).astype(np.float64)
    joint = member.T @ probabilities
    total = joint.sum(axis=0)
    given = np.divide(joint, total, out=np.zeros(joint.shape), where=total > 0)
    predicted = ((probabilities @ given.T) * member).sum(axis=1)
    return float(np.log(predicted).mean())


def nce(source_labels: IntArray, labels: IntArray) -> float:
    """Return the negative conditional entropy of the labels given the model's classes.

    Parameters
    ----------
    source_labels
        The class that the model gives each example.
    labels
        Class of each example.

    Returns
    -------
    float
        At most 0, in nats.

    References
    ----------
    .. [1] Tran, Nguyen, Hassner. *Transferability and hardness of supervised classification
       tasks*. 2019. arXiv:1908.08142
    """
    if source_labels.shape != labels.shape or not labels.size:
        msg = f"{source_labels.shape} and {labels.shape} labels; give one of each per example"
        raise AnalysisError(msg)
    _, first = np.unique(source_labels, return_inverse=True)
    _, second = np.unique(labels, return_inverse=True)
    joint = np.zeros((first.max() + 1, second.max() + 1))
    np.add.at(joint, (first, second), 1.0 / len(labels))
    given = joint / joint.sum(axis=1, keepdims=True)
    inside = joint > 0
    return float((joint[inside] * np.log(given[inside])).sum())


def trans_rate(features: FloatArray, labels: IntArray, *, distortion: float = 1e-4) -> float:
    """Return how many nats the classes save in coding the features.

    References
    ----------
    .. [1] Huang et al. *Frustratingly easy transferability estimation*. 2022. arXiv:2106.09362
    """
    classes = _classes(features, labels)
    centred = features - features.mean(axis=0)
    parts = [_coding_rate(centred[labels == label], distortion) for label in classes]
    return _coding_rate(centred, distortion) - float(np.mean(parts))


def _coding_rate(features: FloatArray, distortion: float) -> float:
    n, width = features.shape
    table = np.eye(width) + features.T @ features / (n * distortion)
    return 0.5 * float(np.linalg.slogdet(table)[1])


def _classes(features: FloatArray, labels: IntArray) -> IntArray:
    if features.ndim != 2 or labels.shape != features.shape[:1]:
        msg = f"features {features.shape} and labels {labels.shape} differ in their examples"
        raise AnalysisError(msg)
    classes = np.unique(labels)
    if len(classes) < 2:
        msg = f"the labels hold {len(classes)} class; transfer to it cannot be measured"
        raise AnalysisError(msg)
    return np.asarray(classes, dtype=np.int64)
