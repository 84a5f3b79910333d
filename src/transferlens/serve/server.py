"""The server: which hosts it may bind, and how it begins and ends."""

from __future__ import annotations

from dataclasses import dataclass

from transferlens.errors import AnalysisError, needs
from transferlens.serve.guard import LOOPBACK
from transferlens.serve.model import Served

__all__ = ["ServerSettings", "serve_study"]

_GRACE = 30
"""Seconds that requests under way get to end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """Where and for whom a study is served."""

    host: str = "127.0.0.1"
    port: int = 8000
    api_key: str | None = None
    concurrency: int = 64
    """Requests under way or waiting at most."""
    max_rows: int = 16
    """Requests that are written at the same time."""
    max_body: int = 1 << 20
    """Bytes of a request at most."""

    def check(self) -> None:
        """Refuse what would let strangers in.

        Raises
        ------
        AnalysisError
            A host that others can reach, without a key, or a key that a header cannot carry.
        """
        if self.host not in LOOPBACK and not self.api_key:
            msg = (
                f"--host {self.host} can be reached by others, so it needs a key: set "
                "TRANSFERLENS_API_KEY or give --api-key"
            )
            raise AnalysisError(msg)
        if self.api_key is not None and not (self.api_key.isascii() and self.api_key.isprintable()):
            msg = "the API key must be of printable ASCII characters: a header carries it"
            raise AnalysisError(msg)


def serve_study(served: Served, settings: ServerSettings) -> None:
    """Answer requests until the process is told to stop; what is under way is finished.

    Raises
    ------
    AnalysisError
        See `ServerSettings.check`.
    MissingExtraError
        A package of the extra ``serve`` is not installed.
    """
    settings.check()
    with needs("FastAPI", extra="serve", purpose="serving adapters"):
        import uvicorn

        from transferlens.serve.app import make_app
    app = make_app(
        served,
        api_key=settings.api_key,
        concurrency=settings.concurrency,
        max_rows=settings.max_rows,
        max_body=settings.max_body,
    )
    # No access log: an address may hold what nobody should keep.
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.port,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=_GRACE,
    )
