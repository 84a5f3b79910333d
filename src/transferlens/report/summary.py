"""The summary: everything that a page shows, computed, before anything is drawn."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from transferlens.report.analysis import Analyses, Depth, analyse
from transferlens.report.cells import cell_table
from transferlens.report.cite import Citations, citations
from transferlens.report.claim import Lacking
from transferlens.report.summary_cards import Cards, Cost, cards, cost
from transferlens.report.summary_factors import FactorsView, factors_view
from transferlens.report.summary_findings import Facet, findings
from transferlens.report.summary_matrix import MatrixView, matrix_view
from transferlens.report.summary_predict import DecideView, decide_view
from transferlens.report.summary_provenance import Provenance, provenance
from transferlens.report.summary_quick import Quick, quick_answers
from transferlens.report.summary_roles import RolesView, roles_view
from transferlens.report.summary_traits import TraitsView, traits_view
from transferlens.report.summary_twins import TwinsView, twins_view
from transferlens.report.summary_why import WhyView, why_view
from transferlens.results import TransferStudy

__all__ = ["Summary", "summarise"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a report says of a study, in the order of the page."""

    name: str
    level: float
    """Adjusted p-value up to which an effect is called significant."""
    quick: Quick
    findings: tuple[Facet, ...]
    matrix: MatrixView
    traits: TraitsView | Lacking
    why: WhyView | Lacking
    roles: RolesView | Lacking
    decide: DecideView | Lacking
    factors: FactorsView | Lacking
    twins: TwinsView | Lacking
    cards: Cards
    cost: Cost | Lacking
    provenance: Provenance
    citations: Citations

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as plain dictionaries and tuples; NaN is not replaced."""
        return asdict(self)


def summarise(
    study: TransferStudy,
    depth: Depth | None = None,
    *,
    made: str | None = None,
) -> Summary:
    """Compute a report's summary from whatever the study has.

    Parameters
    ----------
    study
        With predictions, or with scores only.
    depth
        How much is computed.
    made
        Date of the report, for the citation; none by default, so that the same study gives
        the same summary.

    Returns
    -------
    Summary
        A part that the study cannot give is a `Lacking`, which says how to get it.
    """
    found = analyse(study, depth or Depth())
    return summary_of(found, made=made)


def summary_of(found: Analyses, *, made: str | None = None) -> Summary:
    """Put analyses into words."""
    cells = cell_table(found.study, found.matrix, found.depth.level)
    name = str(found.study.origin.get("name") or (found.study.path or "study"))
    why = why_view(found, cells)
    traits = traits_view(found)
    return Summary(
        name=name,
        level=found.depth.level,
        quick=quick_answers(found, cells, traits, why),
        findings=findings(found, cells, traits),
        matrix=matrix_view(found, cells),
        traits=traits,
        why=why,
        roles=roles_view(found),
        decide=decide_view(found),
        factors=factors_view(found.factors, found.depth.level),
        twins=twins_view(found.twins, found.depth.level),
        cards=cards(found.study, cells, found.factors),
        cost=cost(found.study),
        provenance=provenance(found.study),
        citations=citations(name, found.study, made=made),
    )
