"""The endpoint: OpenAI's routes, one after the other."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from transferlens.serve.batching import Batcher, Piece
from transferlens.serve.guard import Guard
from transferlens.serve.model import Asked, Served
from transferlens.serve.protocol import (
    ApiError,
    ChatRequest,
    CompletionRequest,
    answer,
    chunk,
    new_id,
    parse,
    usage,
)
from transferlens.serve.route import ascii_only
from transferlens.serve.skills import AUTO, BASE_MODEL

__all__ = ["make_app"]


def make_app(
    served: Served, *, api_key: str | None, concurrency: int, max_rows: int, max_body: int
) -> FastAPI:
    """Return the application.

    Parameters
    ----------
    api_key
        What every request must bring; None: nothing.
    concurrency
        Requests under way or waiting; one more is answered with 429.
    max_rows
        Requests that are written at the same time.
    max_body
        Bytes of a request at most.
    """
    desk = _Desk(served, concurrency, max_rows)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        desk.open()
        yield
        await asyncio.to_thread(desk.close)

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Guard, api_key=api_key, max_body=max_body)

    @app.exception_handler(ApiError)
    async def _(_request: Request, error: ApiError) -> Response:
        headers = {"retry-after": "1"} if error.status == 429 else None
        return JSONResponse(error.body, error.status, headers)

    @app.exception_handler(404)
    async def _(request: Request, _error: Exception) -> Response:
        error = ApiError(404, f"no such address: {request.url.path}", code="not_found")
        return JSONResponse(error.body, 404)

    @app.get("/v1/models")
    async def _() -> dict[str, Any]:
        return {"object": "list", "data": [_entry(name) for name in desk.models]}

    @app.get("/v1/models/{name}")
    async def _(name: str) -> dict[str, Any]:
        if name not in desk.models:
            msg = f"no model {name[:80]!r}"
            raise ApiError(404, msg, code="model_not_found", param="model")
        return _entry(name)

    @app.post("/v1/chat/completions")
    async def _(request: Request) -> Response:
        return await desk.answer(parse(ChatRequest, await request.body()), request)

    @app.post("/v1/completions")
    async def _(request: Request) -> Response:
        return await desk.answer(parse(CompletionRequest, await request.body()), request)

    return app


def _entry(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "transferlens"}


class _Desk:
    """Takes requests in, hands them to the thread that writes, and answers them."""

    def __init__(self, served: Served, concurrency: int, max_rows: int) -> None:
        self._served, self._free, self._max_rows = served, concurrency, max_rows
        auto = [AUTO] if served.router else []
        self.models = dict.fromkeys([BASE_MODEL, *auto, *served.skills])
        self._batcher: Batcher | None = None

    def open(self) -> None:
        self._batcher = Batcher(self._served.pool, max_rows=self._max_rows)

    def close(self) -> None:
        if self._batcher is not None:
            self._batcher.close()

    async def answer(self, request: ChatRequest | CompletionRequest, http: Request) -> Response:
        if self._free < 1:
            msg = "too many requests at once; try again in a moment"
            raise ApiError(429, msg, code="too_many_requests")
        asked = self._served.asked(request)
        headers = {
            "x-transferlens-adapter": ascii_only(asked.adapter),
            "x-transferlens-reason": ascii_only(asked.reason),
        }
        # Nothing is awaited between the check above and here, so no request slips through.
        ticket = self._submit(asked, stream=bool(request.stream))
        if request.stream:
            events = self._events(request, ticket)
            return StreamingResponse(events, 200, headers, "text/event-stream")
        piece = await self._whole(ticket, http)
        body = answer(
            chat=isinstance(request, ChatRequest),
            model=request.model,
            text=piece.text,
            finish=piece.finish,
            n_prompt=len(asked.job.prompt),
            n_written=piece.n_tokens,
        )
        return JSONResponse(body, 200, headers)

    def _submit(self, asked: Asked, *, stream: bool) -> _Ticket:
        if self._batcher is None:
            msg = "the server has not started"
            raise ApiError(503, msg, code="not_ready")
        loop = asyncio.get_running_loop()
        ticket = _Ticket(asked)

        def arrive(piece: Piece) -> None:
            ticket.queue.put_nowait(piece)
            if piece.finish or piece.error:
                self._release(ticket)

        def listen(piece: Piece) -> None:
            # A loop that has closed has nobody who waits.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(arrive, piece)

        self._free -= 1
        self._batcher.submit(asked.job, listen, stream=stream)
        return ticket

    def _release(self, ticket: _Ticket) -> None:
        self._free += ticket.open
        ticket.open = False

    def _drop(self, ticket: _Ticket) -> None:
        """Stop writing for a client that has left."""
        if ticket.open and self._batcher is not None:
            self._batcher.drop(ticket.asked.job)
            self._release(ticket)

    async def _whole(self, ticket: _Ticket, http: Request) -> Piece:
        left = asyncio.create_task(_disconnected(http))
        written = asyncio.create_task(ticket.queue.get())
        try:
            await asyncio.wait({written, left}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            left.cancel()
            written.cancel()
            self._drop(ticket)
        if not written.done() or written.cancelled():
            msg = "the client has left"
            raise ApiError(499, msg, code="client_closed_request")
        piece = written.result()
        if piece.error:
            raise ApiError(500, piece.error, code="engine_error")
        return piece

    async def _events(
        self, request: ChatRequest | CompletionRequest, ticket: _Ticket
    ) -> AsyncIterator[str]:
        try:
            piece = Piece("", 0, "")
            stream = _Stream(request)
            while not piece.finish:
                piece = await ticket.queue.get()
                if piece.error:
                    yield _event(ApiError(500, piece.error, code="engine_error").body)
                    return
                body = stream.body(piece, ticket.asked.job.stop)
                if body:
                    yield _event(body)
            if request.with_usage:
                yield _event(stream.counts(len(ticket.asked.job.prompt), piece.n_tokens))
            yield "data: [DONE]\n\n"
        finally:
            self._drop(ticket)


class _Ticket:
    """A request under way, and what has come of it."""

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.queue: asyncio.Queue[Piece] = asyncio.Queue()
        self.open = True


class _Stream:
    """The events of one answer."""

    def __init__(self, request: ChatRequest | CompletionRequest) -> None:
        chat = isinstance(request, ChatRequest)
        self._chat, self._model, self._name = chat, request.model, new_id(chat=chat)
        self._sent, self._opening = 0, True

    def body(self, piece: Piece, stops: tuple[str, ...]) -> dict[str, Any] | None:
        """Return the next event; None where nothing new is certain."""
        text = piece.text if piece.finish else _certain(piece.text, stops)
        if len(text) <= self._sent and not piece.finish and not self._opening:
            return None
        body = self._chunk(text[self._sent :], piece.finish or None, opening=self._opening)
        self._sent, self._opening = max(self._sent, len(text)), False
        return body

    def counts(self, n_prompt: int, n_written: int) -> dict[str, Any]:
        """Return the event that counts tokens."""
        last = self._chunk(None, None, opening=False)
        return {**last, "choices": [], "usage": usage(n_prompt, n_written)}

    def _chunk(self, text: str | None, finish: str | None, *, opening: bool) -> dict[str, Any]:
        return chunk(
            chat=self._chat, name=self._name, model=self._model, text=text, finish=finish,
            opening=opening,
        )  # fmt: skip


async def _disconnected(http: Request) -> None:
    while (await http.receive())["type"] != "http.disconnect":
        pass


def _event(body: dict[str, Any]) -> str:
    return f"data: {json.dumps(body, ensure_ascii=False)}\n\n"


def _certain(text: str, stops: tuple[str, ...]) -> str:
    """Return what of a text will stay: no half character, no beginning of a stop text."""
    kept = text.rstrip("\ufffd")
    longest = max(map(len, stops), default=0)
    for size in range(min(longest, len(kept)), 0, -1):
        if any(stop.startswith(kept[-size:]) for stop in stops):
            return kept[:-size]
    return kept
