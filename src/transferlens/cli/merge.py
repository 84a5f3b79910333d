"""``transferlens merge``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from transferlens.cli.console import plain
from transferlens.cli.options import Folder
from transferlens.cli.status import print_failures

if TYPE_CHECKING:
    from transferlens.study import StudySpec

__all__ = ["merge"]

INCOMPLETE = 2


def merge(  # noqa: PLR0917 - each is an argument or option of the command
    folder: Folder,
    sources: Annotated[
        list[str], typer.Argument(metavar="A B …", help="Sources whose adapters are merged.")
    ],
    method: Annotated[
        Literal["linear", "task_arithmetic", "ties", "dare"],
        typer.Option(help="How; see the guide on merging."),
    ] = "linear",
    weights: Annotated[
        str | None,
        typer.Option(metavar="W,W,…", help="One per source.", show_default="equal, sum 1"),
    ] = None,
    density: Annotated[
        float | None,
        typer.Option(help="Share of entries that ties and dare keep.", show_default="0.5"),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the row.", show_default="A-B-METHOD")
    ] = None,
    study: Annotated[
        Path | None,
        typer.Option(
            metavar="STUDY.yaml",
            help="Where relative paths of the study start: its file, or a folder.",
            show_default="this folder",
        ),
    ] = None,
    log: Annotated[
        Literal["rich", "json", "quiet"],
        typer.Option(help="Progress bars, JSON lines on stderr, or nothing."),
    ] = "rich",
) -> None:
    """Merge adapters of a study, and evaluate the result on every target.

    The matrix gains a row, marked as merged. To keep it when the study is run again from its
    file, write what is printed at the end into the file.
    """
    from transferlens.engine import run as run_study
    from transferlens.errors import SpecError
    from transferlens.results import open_study, study_status

    stored = open_study(folder)
    if stored.plan is None or stored.spec is None:
        msg = f"{folder} was imported; merging needs a study that was run here"
        raise SpecError(msg)
    place = study or Path()
    given = {
        "of": sources, "method": method, "name": name, "density": density,
        "weights": _numbers(weights),
    }  # fmt: skip
    wanted = {key: value for key, value in given.items() if value is not None}
    spec = _with_merge(stored.plan.spec, wanted, place.parent if place.suffix else place)
    _refuse_other(spec, folder)
    row = spec.merges[-1]
    run_study(spec, folder, log=log, only={(row.name, ref.name) for ref in spec.targets})
    print_failures(study_status(folder))
    plain(f"{row.name}: {row.words}. See: transferlens matrix {folder}")
    plain(f"to keep it in the study's file: merges: [{{of: [{', '.join(row.of)}], ...}}]".replace(
        "...", ", ".join(f"{k}: {v}" for k, v in wanted.items() if k != "of") or "method: linear"
    ))  # fmt: skip
    if any(row.name in failure.what for failure in study_status(folder).failures):
        raise typer.Exit(INCOMPLETE)


def _numbers(text: str | None) -> list[float] | None:
    from transferlens.errors import SpecError

    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        msg = f"--weights {text}: give numbers with commas between, such as 0.7,0.3"
        raise SpecError(msg) from None


def _with_merge(stored: dict[str, Any], wanted: dict[str, Any], root: Path) -> StudySpec:
    from transferlens.study import StudySpec

    before = StudySpec.from_dict(stored, root=root)
    found = StudySpec.from_dict({**stored, "merges": [wanted]}, root=root)
    # Asked for again, a merge that is there already is finished or gone on with.
    rest = [m.model_dump(mode="json") for m in before.merges if m.name != found.merges[0].name]
    merges = [*rest, found.merges[0].model_dump(mode="json")]
    return StudySpec.from_dict({**stored, "merges": merges}, root=root)


def _refuse_other(spec: StudySpec, folder: Path) -> None:
    """Refuse where the study's data or base are not found as they were."""
    from transferlens.engine.outline import outline_study
    from transferlens.errors import SpecError
    from transferlens.results import StudyStore

    plan = StudyStore.open(folder).plan
    merged = {info.name for info in plan.sources if info.merged_of}
    before = {cell.id for cell in plan.cells if cell.source not in merged}
    if not before <= {cell.id for cell in outline_study(spec, plan.base).plan.cells}:
        msg = (
            f"{folder}: the study's data or base are no longer what they were; run its file "
            "again first, or name it with --study"
        )
        raise SpecError(msg)
