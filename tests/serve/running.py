"""A server on a free loopback port, in a thread of this process."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from transferlens.serve.app import make_app
from transferlens.serve.model import Served


@contextmanager
def server_of(served: Served, **settings: Any) -> Iterator[str]:
    """Yield the address of the endpoint."""
    given = {"api_key": None, "concurrency": 32, "max_rows": 8, "max_body": 100_000} | settings
    config = uvicorn.Config(make_app(served, **given), port=0, log_level="error", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.should_exit = True
        thread.join()
