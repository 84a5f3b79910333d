"""Traits that one cell or one row makes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import beta

from transferlens.traits.align import congruence
from transferlens.traits.arrays import Array, require_matrix
from transferlens.traits.decompose import PCA, pca
from transferlens.traits.fill import additive_fit

__all__ = ["Dominance", "find_dominance"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dominance:
    """One cell or one row that makes a component."""

    component: int
    """Index of the component."""
    kind: Literal["cell", "row"]
    row: int
    column: int | None
    """None for a whole row."""
    share: float
    """Share of the component's variance that the cell or row contributes."""
    explained: float
    """Share of the matrix's variance that the component explains."""
    explained_without: float
    """The same share for the like component without the cell (replaced by its row's and
    column's effects) or without the row."""
    congruence_without: float
    """Tucker's φ between the component and the most similar one without it."""

    def sentence(self, rows: list[str] | None = None, columns: list[str] | None = None) -> str:
        """Say the warning in words, with the names of rows and columns where they are given."""
        row = rows[self.row] if rows else f"row {self.row}"
        where = f"row {row}" if rows else row
        if self.column is not None:
            where = f"cell {row} → {columns[self.column] if columns else f'column {self.column}'}"
        return (
            f"trait {self.component + 1} is made by one {self.kind}: {where} contributes"
            f" {self.share:.0%} of it; the trait explains {self.explained:.0%} of the variance,"
            f" and without the {self.kind} the most similar one explains"
            f" {self.explained_without:.0%} (congruence {self.congruence_without:.2f})"
        )


def find_dominance(
    matrix: Array,
    n_components: int,
    *,
    centre: bool = True,
    cell_share: float = 0.5,
) -> tuple[Dominance, ...]:
    """Look for components that one cell or one row makes.

    A component's variance is the sum of ``u_i · s · v_j · x_ij`` over cells, so that each cell
    has a share of it, and each row the share ``u_i²``.

    Parameters
    ----------
    matrix
        Complete scores in the unit that is decomposed, shape (row, column).
    n_components
        How many components to look at.
    centre
        As in the decomposition.
    cell_share
        Share from which a cell is reported. Rows are reported above the same share and above
        what a random direction reaches once in twenty matrices of this size, since with few
        rows one always stands out.

    Returns
    -------
    tuple of Dominance
        By component; of a cell and its row only the cell is named.
    """
    values = require_matrix(matrix, min_rows=3, min_columns=2)
    full = pca(values, n_components, centre=centre)
    n = len(values)
    chance = float(beta.isf(0.05 / (n * n_components), 0.5, (n - 2) / 2)) if n > 2 else 1.0
    found = []
    for component in range(n_components):
        # A component that explains next to nothing is noise, whoever makes it.
        if full.singular[component] <= 1e-6 * full.singular[0]:
            continue
        share = _cell_shares(full, values, component)
        row, column = (int(at) for at in np.unravel_index(int(share.argmax()), share.shape))
        if share[row, column] > cell_share:
            at = (component, row, column)
            found.append(_without(values, full, at, float(share[row, column]), centre=centre))
            continue
        rows = full.left[:, component] ** 2
        if rows.max() > max(cell_share, chance):
            row = int(rows.argmax())
            found.append(
                _without(values, full, (component, row, None), float(rows[row]), centre=centre)
            )
    return tuple(found)


def _cell_shares(full: PCA, values: Array, component: int) -> Array:
    direction = np.outer(full.left[:, component], full.right[:, component])
    return np.asarray(direction * (values - full.centre) / full.singular[component])


def _without(
    values: Array, full: PCA, at: tuple[int, int, int | None], share: float, *, centre: bool
) -> Dominance:
    component, row, column = at
    if column is None:
        changed = np.delete(values, row, axis=0)
    else:
        hole = np.zeros((1, *values.shape), dtype=np.bool_)
        hole[0, row, column] = True
        changed = np.where(hole, additive_fit(values[None], hole), values[None])[0]
    other = pca(changed, min(len(full.singular) + 1, *changed.shape), centre=centre)
    phi = np.abs(congruence(full.right[:, [component]], other.right)[0])
    return Dominance(
        component=component,
        kind="row" if column is None else "cell",
        row=row,
        column=column,
        share=share,
        explained=float(full.explained[component]),
        explained_without=float(other.explained[phi.argmax()]),
        congruence_without=float(phi.max()),
    )
