"""``transferlens run``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from transferlens.cli.console import duration, plain, print_table, size
from transferlens.cli.status import print_failures

if TYPE_CHECKING:
    from transferlens.engine import StudyPlan

__all__ = ["run"]

INCOMPLETE = 2


def run(
    study: Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="The study file.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE",
            help="Fields to change, such as method.rank=8 or 'seeds=[0,1,2]'.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Folder of the study.", show_default="./NAME of the study"
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything and print the plan; run nothing.")
    ] = False,
    log: Annotated[
        Literal["rich", "json", "quiet"],
        typer.Option(help="Progress bars, JSON lines on stderr, or nothing."),
    ] = "rich",
) -> None:
    """Train and evaluate adapters, and store every prediction.

    One adapter is trained per source and seed; each, and the untuned base, answers every target.

    Stopped at any moment, the same command goes on where it was. A changed
    study runs only what is new, and what failed is tried again.
    """
    from transferlens.study import StudySpec

    spec = StudySpec.from_yaml(study, overrides or ())
    folder = output or Path(spec.name)
    if dry_run:
        from transferlens.engine import plan_study

        _print_plan(plan_study(spec), folder)
        return
    from transferlens.engine import run as run_study
    from transferlens.results import study_status

    run_study(spec, folder, log=log)
    found = study_status(folder)
    print_failures(found)
    if missing := found.cells.total() - found.cells["done"]:
        plain(f"{missing} of {found.cells.total()} cells are missing; the same command tries again")
        raise typer.Exit(INCOMPLETE)
    plain(f"{found.cells.total()} cells in {folder}. See: transferlens matrix {folder}")


def _print_plan(study: StudyPlan, folder: Path) -> None:
    plan = study.plan
    plain(f"{plan.spec['name']} -> {folder}: base {plan.spec['base']['model']}")
    plain(f"{len(plan.adapters)} adapters, {len(plan.cells)} cells")
    plain("")
    print_table(
        ("source", "rows", "steps", "tokens", "cut rows"),
        [
            (s.name, str(s.n_rows), str(s.n_steps), f"{s.tokens:,}", str(s.n_truncated))
            for s in study.sources
        ],
    )
    plain("")
    print_table(
        ("target", "kind", "metric", "examples", "tokens read", "written, at most"),
        [
            (
                t.name,
                t.kind,
                t.metric,
                str(t.n_examples),
                f"{t.read_tokens:,}",
                f"{t.written_tokens:,}",
            )
            for t in study.targets
        ],
        left=3,
    )
    plain("")
    for note in study.notes:
        plain(f"note: {note}")
    if (cost := study.estimate) is not None:
        plain(f"time:   about {duration(round(cost.seconds))}, of which training "
              f"{duration(round(cost.train_seconds))}")  # fmt: skip
        spared = ", with gradient checkpoints" if cost.checkpointing else ""
        plain(f"memory: about {size(cost.memory_bytes)}{spared}")
        plain(f"disk:   about {size(cost.disk_bytes)}")
