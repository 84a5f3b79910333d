"""``transferlens serve``."""

from __future__ import annotations

from typing import Annotated

import typer

from transferlens.cli.console import plain
from transferlens.cli.options import Folder

__all__ = ["serve"]


def serve(  # noqa: PLR0917 - each is an argument or option of the command
    folder: Folder,
    host: Annotated[
        str, typer.Option(help="Address to listen on; any but loopback needs a key.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 8000,
    api_key: Annotated[
        str | None,
        typer.Option(
            envvar="TRANSFERLENS_API_KEY",
            show_envvar=True,
            help="What every request must bring as bearer.",
        ),
    ] = None,
    max_adapters: Annotated[
        int | None, typer.Option(min=1, help="Adapters in memory at most.")
    ] = None,
    memory: Annotated[
        float | None, typer.Option(min=0, metavar="MIB", help="MiB of adapters in memory at most.")
    ] = None,
    max_length: Annotated[
        int | None,
        typer.Option(min=2, help="Tokens of prompt and answer.", show_default="the context"),
    ] = None,
    concurrency: Annotated[
        int, typer.Option(min=1, help="Requests under way or waiting at most.")
    ] = 64,
    batch: Annotated[int, typer.Option(min=1, help="Requests written at the same time.")] = 16,
) -> None:
    """Serve the base and its adapters to OpenAI's clients, each request with its own adapter.

    Models are "base", the name of an adapter's source (or source@seed), and "auto", which
    sends each request to the adapter that the study's evidence speaks for, or to the base.
    """
    from transferlens.serve.model import open_served
    from transferlens.serve.server import ServerSettings, serve_study

    settings = ServerSettings(
        host=host, port=port, api_key=api_key, concurrency=concurrency, max_rows=batch
    )
    settings.check()
    served = open_served(
        folder,
        max_adapters=max_adapters,
        max_bytes=None if memory is None else memory * 2**20,
        max_length=max_length,
    )
    count = len({skill.name for skill in served.skills.values()})
    plain(f"{count} adapters at http://{host}:{port}/v1; stop with Ctrl-C")
    if served.router is None:
        plain(served.without_router)
    serve_study(served, settings)
