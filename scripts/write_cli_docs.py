"""Write docs/cli.md from the help texts of the commands: ``make docs``."""

from __future__ import annotations

import os
from pathlib import Path

from typer.testing import CliRunner

from transferlens.cli import app

HEAD = """\
# Command line

Written by `make docs` from the commands themselves; a test compares.

Exit codes: 0 all is well; 1 a fault of ours, with the place of its traceback; 2 something you
can mend, said in one line; 130 stopped by Ctrl-C, and the same command goes on. What
goes into a pipe is never coloured or cut.
"""


def cli_docs() -> str:
    """Return the text of docs/cli.md."""
    # The width decides where help texts break.
    os.environ["COLUMNS"] = "100"
    commands = [info.name for info in app.registered_commands]
    parts = [HEAD, _section("transferlens", [])]
    parts += [_section(f"transferlens {name}", [str(name)]) for name in commands]
    return "\n".join(parts)


def _section(title: str, arguments: list[str]) -> str:
    result = CliRunner().invoke(app, [*arguments, "--help"], prog_name="transferlens")
    return f"## {title}\n\n```text\n{result.stdout.strip()}\n```\n"


if __name__ == "__main__":
    Path(__file__).parents[1].joinpath("docs", "cli.md").write_text(cli_docs(), encoding="utf-8")
