"""From a summary to what the page draws: one set of charts per section."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from transferlens.report.charts import Row, forest
from transferlens.report.charts_matrix import transfer_graph
from transferlens.report.charts_points import biplot
from transferlens.report.charts_shares import scree
from transferlens.report.claim import Lacking
from transferlens.report.drawn_cell import DrawnCell, draw_cell
from transferlens.report.summary import Summary
from transferlens.report.summary_cards import Cards, Cost
from transferlens.report.summary_factors import FactorsView
from transferlens.report.summary_roles import Role, RolesView
from transferlens.report.summary_traits import TraitsView, TraitView
from transferlens.report.summary_twins import TwinView
from transferlens.report.summary_why import CellView
from transferlens.report.svg import Chart, Table, number

__all__ = ["Drawn", "draw"]

_MOST_ROWS = 30
"""Lines of a chart: of more, the largest are drawn, and all stand in the table of the data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """All charts of a report."""

    traits: tuple[Chart, ...]
    each_trait: tuple[tuple[TraitView, tuple[Chart, ...]], ...]
    cells: tuple[tuple[CellView, DrawnCell], ...]
    roles: tuple[Chart, ...]
    pairs: Table | None
    hubs: Table | None
    cost: Table | None
    datasets: Table | None
    factors: tuple[Chart, ...]
    twins: tuple[tuple[TwinView, Table], ...]


def draw(summary: Summary) -> Drawn:
    """Draw every chart of a summary."""
    traits, why, roles = summary.traits, summary.why, summary.roles
    known = [] if isinstance(traits, Lacking) else list(traits.traits)
    return Drawn(
        traits=() if isinstance(traits, Lacking) else tuple(_traits(traits)),
        each_trait=()
        if isinstance(traits, Lacking)
        else tuple((t, tuple(_trait(t, traits))) for t in known),
        cells=() if isinstance(why, Lacking) else tuple((c, draw_cell(c)) for c in why.cells),
        roles=() if isinstance(roles, Lacking) else tuple(_roles(roles)),
        pairs=None if isinstance(roles, Lacking) or not roles.pairs else _pairs(roles),
        hubs=None
        if isinstance(roles, Lacking) or not roles.hubs
        else Table(head=("task", "role"), rows=roles.hubs),
        cost=None if isinstance(summary.cost, Lacking) else _cost(summary.cost),
        datasets=_datasets(summary.cards) if summary.cards.datasets else None,
        factors=() if isinstance(summary.factors, Lacking) else tuple(_factors(summary.factors)),
        twins=()
        if isinstance(summary.twins, Lacking)
        else tuple((t, _twin(t)) for t in summary.twins.twins),
    )


def _traits(view: TraitsView) -> Iterator[Chart]:
    above = dict(view.rules)["parallel analysis"]
    yield scree(
        view.scree,
        title="Scree",
        words=f"Share of the variance of each component; the grey band is what chance makes in 95 "
        f"of 100 shuffled matrices. Leading components above it: {above}.",
    )
    if len(view.traits) > 1:
        first, second = view.traits[:2]
        yield biplot(
            first,
            second,
            title="Biplot of traits 1 and 2",
            words="Points are adapters by their scores, arrows tasks by their loadings: an adapter "
            "that lies in the direction of a task is good at it.",
        )


def _trait(trait: TraitView, view: TraitsView) -> Iterator[Chart]:
    sure = sum(one.significant for one in trait.loadings)
    yield forest(
        [
            Row(one.target, one.value, one.low, one.high, one.significant)
            for one in trait.loadings[:_MOST_ROWS]
        ],
        title=f"Loadings of {trait.label}",
        words=f"{sure} of {len(trait.loadings)} tasks have an interval over {view.interval_over} "
        f"that excludes 0.{_cut(trait.loadings)}",
        measure=f"loading, {view.unit} per SD",
    )
    scores = trait.scores
    if len(scores) > _MOST_ROWS:
        half = _MOST_ROWS // 2
        scores = (*scores[:half], *scores[-half:])
    yield forest(
        [Row(name, value, float("nan"), float("nan"), sure=False) for name, value in scores],
        title=f"Scores of {trait.label}",
        words=f"Highest: {trait.scores[0][0]}; lowest: {trait.scores[-1][0]}.{_cut(trait.scores)}",
        measure="score, SD",
    )


def _cut(rows: Sequence[object]) -> str:
    return "" if len(rows) <= _MOST_ROWS else f" The chart shows {_MOST_ROWS} of {len(rows)}."


def _roles(view: RolesView) -> Iterator[Chart]:
    total = len(view.helps) + len(view.harms)
    if total:
        yield transfer_graph(
            view.helps,
            view.harms,
            title="Significant transfers",
            words="An arrow leads from what an adapter was trained on to a task. Full purple "
            f"lines help ({len(view.helps)}), dashed orange ones harm ({len(view.harms)}); the "
            f"wider, the larger.{f' The 60 largest of {total} are drawn.' if total > 60 else ''}",
        )
    for title, does, roles in (
        ("Donors", "What each source gives to other tasks beyond an average source.", view.donors),
        (
            "Recipients",
            "What each task takes from other sources beyond an average task.",
            view.recipients,
        ),
    ):
        known = [role for role in roles if role.effect == role.effect]
        if known:
            yield forest(
                [_role(role) for role in _ends(known)],
                title=title,
                words=f"{does} An interval without 0 is marked *.{_cut(known)}",
                measure=f"effect, {view.unit}",
            )


def _role(role: Role) -> Row:
    return Row(role.name, role.effect, role.low, role.high, role.low > 0 or role.high < 0)


def _ends(roles: Sequence[Role]) -> list[Role]:
    half = _MOST_ROWS // 2
    return list(roles) if len(roles) <= _MOST_ROWS else [*roles[:half], *roles[-half:]]


def _pairs(view: RolesView) -> Table:
    return Table(
        head=("A", "B", "A on B", "B on A", "difference", "from", "to", "adjusted p"),
        rows=tuple(
            (
                p.first, p.second, number(p.forward), number(p.backward), number(p.difference),
                number(p.low), number(p.high), f"{p.p_adjusted:.2g}",
            )
            for p in view.pairs
        ),
    )  # fmt: skip


def _cost(cost: Cost) -> Table:
    return Table(
        head=("source", "seed", "seconds", "tokens"),
        rows=tuple(
            (s, str(seed), f"{sec:,.1f}", f"{tokens:,}")
            for s, seed, sec, tokens in cost.per_adapter
        ),
    )


def _factors(view: FactorsView) -> Iterator[Chart]:
    if view.rows:
        sure = sum(row.verdict == "significant" for row in view.rows)
        yield forest(
            [
                Row(r.name, r.value, r.low, r.high, r.verdict == "significant")
                for r in view.rows[:_MOST_ROWS]
            ],
            title="Factors of the gain",
            words=f"Change of the gain per SD of each factor, with source and target effects held "
            f"fixed; {sure} of {len(view.rows)} significant after adjustment (*).{_cut(view.rows)}",
            measure=f"gain per SD, {view.unit}",
        )


def _twin(view: TwinView) -> Table:
    rows = (
        (
            row.target, row.what, number(row.difference), number(row.low), number(row.high),
            row.unit, f"{row.p_adjusted:.2g}", row.verdict,
        )
        for row in view.rows
    )  # fmt: skip
    head = ("task", "of", "difference", "from", "to", "unit", "adjusted p", "evidence")
    return Table(head=head, rows=tuple(rows))


def _datasets(cards: Cards) -> Table:
    names = [name for name, _ in cards.datasets[0].values]
    rows = (
        (row.measure, row.unit, *(number(value) for _, value in row.values), row.meaning)
        for row in cards.datasets
    )
    return Table(head=("", "unit", *names, "what it is"), rows=tuple(rows))
