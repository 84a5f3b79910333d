"""Key findings in seven facets, each sentence from this study's numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from transferlens.explain.amounts import scale_and_unit
from transferlens.report.analysis import Analyses
from transferlens.report.cells import usual_unit
from transferlens.report.claim import Claim, Lacking, counted, gain_in_words, listed
from transferlens.report.next_steps import next_steps
from transferlens.report.summary_provenance import environments
from transferlens.report.summary_quick import cautions, method_name, what_was_done
from transferlens.report.summary_traits import TraitsView
from transferlens.results import TransferStudy, format_value
from transferlens.transfer import TransferMatrix

__all__ = ["Facet", "findings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facet:
    """One side of the findings."""

    title: str
    claims: tuple[Claim, ...]


def findings(
    found: Analyses, cells: pl.DataFrame, traits: TraitsView | Lacking
) -> tuple[Facet, ...]:
    """Return the seven facets in the order of the page."""
    parts = (
        ("Methodology", _methodology(found, cells)),
        ("Results", _results(cells, traits)),
        ("Significance", _significance(found, cells)),
        ("Technical settings", _settings(found.study)),
        ("What is new against the base", _against_base(cells)),
        ("Limitations", _limitations(found, cells)),
        ("Next steps", next_steps(found, cells)),
    )
    return tuple(Facet(title=title, claims=tuple(claims)) for title, claims in parts)


def _methodology(found: Analyses, cells: pl.DataFrame) -> Iterator[Claim]:
    study = found.study
    yield Claim(text=what_was_done(study, cells), section="provenance")
    own = int(cells["own"].sum())
    yield Claim(
        text=f"{own} of {counted(len(study.targets), 'task')} are also trained on; "
        f"{cells.height - own:,} cells show transfer to another task.",
        section="matrix",
    )
    metrics = sorted({t.metric for t in study.targets})
    families = sorted({t.family for t in study.targets if t.family})
    by = (
        f"; {counted(len(families), 'family', 'families')} of tasks: {listed(families)}"
        if families
        else ""
    )
    yield Claim(text=f"Scored by {listed(metrics)}{by}.", section="cards")
    if isinstance(found.matrix, TransferMatrix):
        tests = sorted(set(cells["test"].to_list()) - {"none"})
        if tests:
            adjust = str(found.matrix.data.attrs["adjust"])
            yield Claim(
                text=f"Gains are tested by {listed([_TESTS.get(t, t) for t in tests])}, adjusted "
                f"over all cells by {_ADJUST.get(adjust, adjust)}; intervals cover "
                f"{found.matrix.evidence.confidence:.0%} and are not adjusted.",
                section="matrix",
            )


_ADJUST = {
    "bh": "Benjamini and Hochberg (false-discovery rate)",
    "by": "Benjamini and Yekutieli (false-discovery rate)",
    "holm": "Holm (any false discovery)",
    "bonferroni": "Bonferroni (any false discovery)",
    "max-t": "max-T (any false discovery)",
}
_TESTS = {
    "McNemar mid-p": "McNemar's mid-p test",
    "McNemar exact": "McNemar's exact test",
    "paired bootstrap bca": "a paired bootstrap (BCa)",
    "sign flip": "sign flips",
    "two-way t": "Student's t over examples and seeds",
    "t over seeds": "Student's t over seeds",
    "t over examples": "Student's t over examples",
}


def _results(cells: pl.DataFrame, traits: TraitsView | Lacking) -> Iterator[Claim]:
    usual = _usual(cells)
    for title, own in (("own tasks", True), ("other tasks", False)):
        group = usual.filter(pl.col("own") == own)
        if group.height:
            yield Claim(text=_typical(group, title), section="matrix")
    if isinstance(traits, Lacking):
        return
    yield from traits.claims[:1]


def _typical(group: pl.DataFrame, title: str) -> str:
    scale, unit = scale_and_unit(group["unit"][0])
    low, middle, high = (
        scale * float(group["gain"].quantile(q, interpolation="linear") or 0.0)
        for q in (0.1, 0.5, 0.9)
    )
    return (
        f"Gain on {title}: median {format_value(middle, signed=True)} {unit}, eight in ten between "
        f"{format_value(low, signed=True)} and {format_value(high, signed=True)} "
        f"({counted(group.height, 'cell')})."
    )


def _usual(cells: pl.DataFrame) -> pl.DataFrame:
    return cells.filter(pl.col("gain").is_not_nan(), pl.col("unit") == usual_unit(cells))


def _significance(found: Analyses, cells: pl.DataFrame) -> Iterator[Claim]:
    tested = cells.filter(pl.col("p_value").is_not_nan())
    if not tested.height:
        yield Claim(
            text=found.matrix.why
            if isinstance(found.matrix, Lacking)
            else "No cell could be tested: the study has one score per cell.",
            verdict="cannot tell",
            section="matrix",
        )
        return
    n = {word: tested.filter(verdict=word).height for word in ("significant", "suggestive")}
    rest = tested.height - sum(n.values())
    yield Claim(
        text=f"Of {counted(tested.height, 'tested cell')} {n['significant']:,} are significant, "
        f"{n['suggestive']:,} suggestive (unadjusted p ≤ {found.depth.level:g} only), and for "
        f"{rest:,} one cannot tell.",
        verdict="significant" if n["significant"] else "cannot tell",
        section="matrix",
    )
    adjust = found.matrix.data.attrs["adjust"] if isinstance(found.matrix, TransferMatrix) else ""
    if n["significant"] and adjust == "bh":
        expected = found.depth.level * n["significant"]
        yield Claim(
            text=f"About {expected:.1f} of the significant ones are expected to be false, at most.",
            section="matrix",
        )


def _own_settings(method: Mapping[str, Any]) -> str:
    """Return the settings that not every method has."""
    known = {"rank": "rank", "alpha": "alpha", "virtual_tokens": "virtual tokens"}
    return "".join(f"{word} {method[key]}, " for key, word in known.items() if key in method)


def _settings(study: TransferStudy) -> Iterator[Claim]:
    method = study.origin.get("method")
    if isinstance(method, dict):
        rate, epochs = method.get("learning_rate"), method.get("epochs")
        length = (
            f"{method['steps']} steps"
            if method.get("steps")
            else f"{epochs:g} epoch{'s' * (epochs != 1)}"
            if epochs
            else ""
        )
        yield Claim(
            text=f"{method_name(method)}: {_own_settings(method)}learning rate {rate}, "
            f"{method.get('batch_tokens')} tokens per step, {length}.",
            section="provenance",
        )
    rows = sorted({s.n_rows for s in study.sources if s.n_rows})
    if rows:
        span = f"{rows[0]:,}" if len(rows) == 1 else f"{rows[0]:,} to {rows[-1]:,}"
        yield Claim(text=f"Training rows per source: {span}.", section="cards")
    cut = [
        f"{m['source']} {m['training']['n_truncated']}"
        for m in environments(study)
        if isinstance(m.get("training"), dict) and m["training"].get("n_truncated")
    ]
    if cut:
        yield Claim(
            text=f"Training rows cut to the model's context: {listed(cut)}.",
            section="cards",
        )
    if not isinstance(method, dict):
        yield Claim(
            text="How the adapters were trained is not known; a study that `transferlens run` made "
            "says so.",
            section="provenance",
        )


def _against_base(cells: pl.DataFrame) -> Iterator[Claim]:
    known = cells.filter(pl.col("gain").is_not_nan())
    targets = known["target"].unique(maintain_order=True).to_list()
    if not known.height:
        yield Claim(text="Nothing can be said without scores of the base.", verdict="cannot tell")
    elif not known["p_value"].is_not_nan().any():
        better = set(known.filter(pl.col("gain") > 0, ~pl.col("own"))["target"])
        yield Claim(
            text=f"{len(better)} of {counted(len(targets), 'task')} score higher with at least one "
            "adapter of another task; whether by chance is not known.",
            verdict="cannot tell",
            section="matrix",
        )
    else:
        yield from _tested_against_base(known, targets)


def _tested_against_base(known: pl.DataFrame, targets: list[str]) -> Iterator[Claim]:
    sure = known.filter(verdict="significant")
    better = set(sure.filter(pl.col("gain") > 0)["target"])
    left = [target for target in targets if target not in better]
    yield Claim(
        text=f"{len(better)} of {counted(len(targets), 'task')} are significantly better with at "
        f"least one adapter{f'; not {listed(left)}' if left else ''}.",
        verdict="significant" if better else "cannot tell",
        section="matrix",
    )
    foreign = sure.filter(pl.col("gain") > 0, ~pl.col("own"))["target"]
    helped = foreign.unique(maintain_order=True).to_list()
    if helped:
        yield Claim(
            text=f"Without training on the task itself: {listed(helped)}.",
            verdict="significant",
            section="roles",
        )
    yield _forgetting(sure)


def _forgetting(sure: pl.DataFrame) -> Claim:
    harmed = sure.filter(pl.col("gain") < 0, ~pl.col("own"))
    lost = harmed.filter(pl.col("higher_is_better"), pl.col("base_score") > 0).with_columns(
        lost=-pl.col("gain") / pl.col("base_score")
    )
    if not lost.height:
        return Claim(text="Forgetting: no significant loss on another task.", section="roles")
    row = lost.sort("lost", descending=True).row(0, named=True)
    return Claim(
        text=f"Forgetting: {row['source']} loses {row['lost']:.0%} of the base's score on "
        f"{row['target']} ({gain_in_words(row)}), the largest share of "
        f"{counted(harmed.height, 'significant loss', 'significant losses')}.",
        verdict="significant",
        section="roles",
    )


def _limitations(found: Analyses, cells: pl.DataFrame) -> Iterator[Claim]:
    yield from cautions(found, cells)
    if len(found.study.sources) < 12:
        yield Claim(
            text=f"{counted(len(found.study.sources), 'source')}: below 12, the number of traits "
            "is hardly ever found.",
            section="traits",
        )
    choices = _choices(cells)
    if choices:
        yield Claim(
            text="The best source of each task is chosen after looking at all of them, so its "
            f"gain is an overestimate; the choice is among {choices} per task.",
            section="quick",
        )


def _choices(cells: pl.DataFrame) -> str:
    """Return among how many sources the best one of a task is chosen; empty for none."""
    known = cells.filter(~pl.col("own"), pl.col("gain").is_not_nan())
    numbers = sorted(known.group_by("target").len()["len"].to_list())
    if not numbers or numbers[-1] < 2:
        return ""
    return str(numbers[0]) if numbers[0] == numbers[-1] else f"up to {numbers[-1]}"
