"""The group of commands: what they share, and how an error ends."""

from __future__ import annotations

import tempfile
import traceback
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from transferlens import __version__
from transferlens.cli import (
    card,
    check,
    compare,
    effects,
    explain,
    export,
    factors,
    gc,
    import_,
    init,
    matrix,
    mcp,
    merge,
    plan,
    plot,
    predict,
    recommend,
    report,
    route,
    run,
    serve,
    status,
    tasks,
    traits,
    twins,
    verify,
)
from transferlens.errors import TransferLensError

__all__ = ["app", "main"]

USER_ERROR = 2
UNEXPECTED_ERROR = 1
INTERRUPTED = 130


class Group(TyperGroup):
    """Ends every error in one line and an exit code of its own."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command; see `_report` for how it can end."""
        try:
            return super().invoke(ctx)
        # How typer itself leaves, and a reader such as `head` that has seen enough.
        except (typer.Exit, typer.Abort, TyperException, BrokenPipeError):
            raise
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the last resort
            raise typer.Exit(_report(error, debug=ctx.params["debug"])) from None


def _report(error: BaseException, *, debug: bool) -> int:
    """Say on stderr what went wrong, and return the exit code."""
    if debug:
        traceback.print_exception(error)
    if isinstance(error, KeyboardInterrupt):
        typer.echo("Stopped. What is finished is kept: give the same command to go on.", err=True)
        return INTERRUPTED
    if isinstance(error, TransferLensError):
        typer.echo(f"Error: {error}", err=True)
        return USER_ERROR
    place = "above" if debug else f"in {_keep(error)}"
    kind = type(error).__name__
    first, *_ = str(error).splitlines() or [""]
    typer.echo(f"Unexpected {kind}: {first} (the traceback is {place})", err=True)
    return UNEXPECTED_ERROR


def _keep(error: BaseException) -> Path:
    """Write the traceback to a file of its own."""
    with tempfile.NamedTemporaryFile(
        "w", prefix="transferlens-", suffix=".log", delete=False, encoding="utf-8"
    ) as file:
        traceback.print_exception(error, file=file)
    return Path(file.name)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"transferlens {__version__}")
        raise typer.Exit


# Plain help, not rich's boxes: the same text in a terminal, a pipe and the documentation.
app = typer.Typer(
    cls=Group,
    name="transferlens",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


@app.callback()
def transferlens(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Print the traceback of an error.")
    ] = False,
) -> None:
    """See what fine-tuning a language model on each dataset does to every task."""


app.command("init")(init.init)
app.command("run")(run.run)
app.command("status")(status.status)
app.command("check")(check.check)
app.command("gc")(gc.gc)
app.command("import")(import_.import_)
app.command("matrix")(matrix.matrix)
app.command("effects")(effects.effects)
app.command("explain")(explain.explain)
app.command("factors")(factors.factors)
app.command("plot")(plot.plot)
app.command("report")(report.report)
app.command("compare")(compare.compare)
app.command("card")(card.card)
app.command("predict")(predict.predict)
app.command("plan")(plan.plan)
app.command("recommend")(recommend.recommend)
app.command("merge")(merge.merge)
app.command("traits")(traits.traits)
app.command("twins")(twins.twins)
app.command("tasks")(tasks.tasks)
app.command("route")(route.route)
app.command("serve")(serve.serve)
app.command("mcp")(mcp.mcp)
app.command("export")(export.export)
app.command("verify")(verify.verify)


def main() -> None:
    """Run the command line on the arguments of the process."""
    app(prog_name="transferlens")
