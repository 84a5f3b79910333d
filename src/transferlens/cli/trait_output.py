"""Traits as text: tables for readers, JSON for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from transferlens.cli.console import plain, print_table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from transferlens.traits import Clusters, Stability, Traits

__all__ = ["as_json", "print_tables"]


def print_tables(found: Traits, *, paper: bool) -> None:
    """Print the findings in words, then loadings with intervals, then trait scores."""
    for line in found.summary():
        plain(line)
    plain("")
    _print_loadings(found)
    plain("")
    _print_scores(found)
    if paper:
        _print_paper(found)


def _print_loadings(found: Traits) -> None:
    known = _known(found)
    families = any(found.families)
    head = ["loading of", *(["family"] if families else [])]
    for at in range(found.n_traits):
        head += [f"trait {at + 1}", *(f"over {one.kind}" for one in known)]
    values = found.decomposition.loadings
    digits = _digits(values)
    rows = []
    for row, target in enumerate(found.targets):
        cells = [target, *([found.families[row] or "-"] if families else [])]
        for at in range(found.n_traits):
            cells.append(_signed(float(values[row, at]), digits))
            cells += [_interval(one, row, at, digits) for one in known]
        rows.append(cells)
    print_table(head, rows, left=2 if families else 1)
    plain("")
    plain(f"{_unit(found)}; [ ] {known[0].level:.0%} interval, with * if it excludes 0")


def _print_scores(found: Traits) -> None:
    head = ["score of", *(f"trait {at + 1}" for at in range(found.n_traits))]
    values = found.decomposition.scores
    rows = [
        [name, *(_signed(float(x), 2) for x in row)]
        for name, row in zip(found.sources, values, strict=True)
    ]
    print_table(head, rows)
    if found.model.method not in {"nmf", "sparse"}:
        plain("")
        plain("score: how much of a trait an adapter has, in SD over the rows")


def _print_paper(found: Traits) -> None:
    """Print U and V: what the paper calls weights and loadings."""
    parts = found.decomposition.pca
    if parts is None:
        return
    numbers = [str(at + 1) for at in range(found.n_traits)]
    for title, names, values in (
        ("weight (U)", found.sources, parts.left),
        ("axis (V)", found.targets, parts.right),
    ):
        plain("")
        rows = [
            [name, *(_signed(float(x), 2) for x in row)]
            for name, row in zip(names, values, strict=True)
        ]
        print_table([title, *numbers], rows)


def _known(found: Traits) -> list[Stability]:
    return [one for one in (found.over_examples, found.over_sources) if one is not None]


def _unit(found: Traits) -> str:
    if found.model.method in {"nmf", "sparse"}:
        return "loading: the basis of the method"
    unit = "SD of the task" if found.model.standardised else "the unit of the matrix"
    return f"loading: change of a task per SD of the trait, in {unit}"


def _interval(stability: Stability, row: int, at: int, digits: int) -> str:
    low, high = float(stability.low[row, at]), float(stability.high[row, at])
    mark = "*" if stability.significant[row, at] else ""
    return f"[{_signed(low, digits)}, {_signed(high, digits)}]{mark}"


def _digits(values: NDArray[Any]) -> int:
    """Return how many decimals show two figures of the largest value."""
    largest = float(abs(values).max(initial=0.0))
    return (
        1 if largest >= 10 or largest == 0 else min(4, max(2, 1 - math.floor(math.log10(largest))))
    )


def _signed(value: float, digits: int) -> str:
    if math.isnan(value):
        return "-"
    text = f"{value:+.{digits}f}"
    return text if text.strip("+-0.") else text[1:]


def as_json(found: Traits) -> str:
    """Return everything that was found; null where a number is not known."""
    number = found.number
    document = {
        "method": found.model.method,
        "rotation": found.model.rotation,
        "n_traits": found.n_traits,
        "number": {
            "asked": found.asked,
            "chosen_by_rules": number.n_components,
            "parallel_analysis": number.parallel.n_components,
            "cross_validation": number.cross_validation.n_components,
            "map": number.map_components,
            "kaiser": number.kaiser_components,
            "doubts": list(number.words),
        },
        "summary": list(found.summary()),
        "notes": list(found.notes),
        "traits": [_trait(found, at) for at in range(found.n_traits)],
        "loadings": found.to_frame().to_dicts(),
        "scores": found.scores_frame().to_dicts(),
        "communality": _by_name(found.targets, found.decomposition.communalities),
        "trait_correlations": found.decomposition.phi.tolist(),
        "made_by_one_cell_or_source": [
            one.sentence(list(found.sources), list(found.targets)) for one in found.dominance
        ],
        "groups_of_targets": _groups(found.targets, found.target_clusters),
        "groups_of_sources": _groups(found.sources, found.source_clusters),
        "filled_cells": [
            [found.sources[row], found.targets[column]]
            for row, column in zip(*found.completion.missing.nonzero(), strict=True)
        ],
    }
    if found.decomposition.pca is not None:
        parts = found.decomposition.pca
        document["pca"] = {
            "weights_u": dict(zip(found.sources, parts.left.tolist(), strict=True)),
            "singular_values": parts.singular.tolist(),
            "axes_v": dict(zip(found.targets, parts.right.tolist(), strict=True)),
        }
    return json.dumps(_without_nan(document), indent=1, ensure_ascii=False)


def _trait(found: Traits, at: int) -> dict[str, Any]:
    name, worst = found.names[at], found.left_out.worst_row[at]
    return {
        "trait": at + 1,
        "label": found.labels[at],
        "explained": float(found.decomposition.explained[at]),
        "named": None
        if name is None
        else {
            "name": name.name,
            "strength": name.strength,
            "pole": name.pole,
            "for": list(name.for_),
            "against": list(name.against),
        },
        **{
            f"{what}_over_{one.kind}": float(getattr(one, key)[at])
            for one in _known(found)
            for what, key in (("congruence", "median"), ("recovered", "recovered"))
        },
        "hangs_most_on": found.sources[worst],
        "congruence_without_it": float(found.left_out.congruence[worst, at]),
    }


def _groups(names: Sequence[str], clusters: Clusters) -> list[dict[str, Any]]:
    return [
        {
            "members": [
                name for name, own in zip(names, clusters.labels, strict=True) if own == at
            ],
            "support": float(support),
        }
        for at, support in enumerate(clusters.cluster_support)
    ]


def _by_name(names: Sequence[str], values: NDArray[Any]) -> dict[str, float]:
    return dict(zip(names, values.tolist(), strict=True))


def _without_nan(value: Any) -> Any:
    """Replace NaN, which JSON does not have, by None."""
    if isinstance(value, dict):
        return {key: _without_nan(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
