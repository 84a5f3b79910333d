"""``transferlens run``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from transferlens.cli.console import duration, plain, print_table, size
from transferlens.cli.status import print_failures

if TYPE_CHECKING:
    from transferlens.engine import StudyPlan
    from transferlens.study import StudySpec

__all__ = ["run"]

INCOMPLETE = 2


def run(  # noqa: PLR0917 - each is an argument or option of the command
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
    executor: Annotated[
        Literal["local", "ray", "slurm"] | None,
        typer.Option(help="What starts the workers.", show_default="of the study, else local"),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="How many work at once.", show_default="one per accelerator"),
    ] = None,
    active: Annotated[
        bool, typer.Option("--active", help="Measure a chosen part, and predict the rest.")
    ] = False,
    budget: Annotated[
        str, typer.Option(metavar="30%|CELLS", help="With --active: cells to measure in all.")
    ] = "30%",
    precision: Annotated[
        float,
        typer.Option(
            min=0.0, help="With --active: stop once hidden cells are predicted so closely."
        ),
    ] = 0.0,
    rounds: Annotated[int, typer.Option(min=1, help="With --active: rounds.")] = 4,
    adapters: Annotated[
        int | None,
        typer.Option(min=1, help="With --active: adapters at most.", show_default="any"),
    ] = None,
) -> None:
    """Train and evaluate adapters, and store every prediction.

    One adapter is trained per source and seed; each, and the untuned base, answers every target.
    A file with bases or methods makes a folder with a study for each of them.

    Stopped at any moment, the same command goes on where it was. A changed
    study runs only what is new, and what failed is tried again.
    """
    from transferlens.study import GridSpec, read_study

    given = {"executor": executor, "workers": workers}
    placed = [f"compute.{name}={value}" for name, value in given.items() if value is not None]
    spec = read_study(study, [*(overrides or ()), *placed])
    folder = output or Path(spec.name)
    if isinstance(spec, GridSpec):
        from transferlens.cli.grid import run_the_grid

        run_the_grid(spec, folder, log=log, active=active, dry_run=_dry_run if dry_run else None)
        return
    if dry_run:
        _dry_run(spec, folder)
        return
    if active:
        from transferlens.cli.active import Wanted, run_active

        wanted = Wanted(budget=budget, precision=precision, rounds=rounds, adapters=adapters)
        if not run_active(spec, folder, wanted, log=log):
            raise typer.Exit(INCOMPLETE)
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


def _dry_run(spec: StudySpec, folder: Path) -> None:
    from transferlens.engine import plan_study

    _print_plan(plan_study(spec), folder)


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
        if (workers := plan.spec["compute"].get("workers") or 1) > 1:
            spread = cost.seconds_on(workers, n_adapters=len(plan.adapters))
            plain(f"        about {duration(round(spread))} on {workers} workers, a device each")
        spared = ", with gradient checkpoints" if cost.checkpointing else ""
        plain(f"memory: about {size(cost.memory_bytes)}{spared}")
        plain(f"disk:   about {size(cost.disk_bytes)}")
