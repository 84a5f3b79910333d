"""``transferlens mcp``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from transferlens.cli.options import Folder

__all__ = ["mcp"]


def mcp(
    folder: Folder,
    data: Annotated[
        Path, typer.Option(help="The only folder in which datasets are read.")
    ] = Path(),
    http: Annotated[
        int | None,
        typer.Option(
            metavar="PORT", help="Listen on this loopback port.", show_default="stdin and stdout"
        ),
    ] = None,
) -> None:
    """Answer an agent's questions about the adapters, by the Model Context Protocol.

    Tools: which adapter for a task or a prompt, what an adapter helps and harms, two adapters
    compared, and what training on a new dataset is expected to bring.
    """
    from transferlens.errors import needs
    from transferlens.results import open_study
    from transferlens.serve.tools import StudyTools, make_mcp_server

    with needs("mcp", extra="serve", purpose="the MCP server"):
        import mcp.server  # noqa: F401 - only whether it is there
    study = open_study(folder)
    name = str(study.origin.get("name", folder.name))
    server = make_mcp_server(StudyTools(study, data=data), name=name)
    if http is None:
        server.run("stdio")
    else:
        server.run("streamable-http", host="127.0.0.1", port=http)
