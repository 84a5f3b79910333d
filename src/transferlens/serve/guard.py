"""What stands before the endpoint: the key, the host's name, and the size of a body."""

from __future__ import annotations

import hmac
import json
from typing import TYPE_CHECKING, Any

from transferlens.serve.protocol import ApiError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["LOOPBACK", "Guard"]

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class Guard:
    """An ASGI layer that lets requests through or answers them with an error."""

    def __init__(self, app: ASGIApp, *, api_key: str | None, max_body: int) -> None:
        """Guard an application.

        Parameters
        ----------
        api_key
            What a request must bring as bearer; None asks for none, and then only requests to
            a loopback name are answered, so that no web page can reach the server by a name
            of its own.
        max_body
            Bytes of a body at most.
        """
        self._app, self._key, self._max_body = app, api_key, max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or pass on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {key.lower(): value for key, value in scope["headers"]}
        try:
            self._admit(headers)
            body = await self._body(headers, receive)
        except ApiError as error:
            await _refuse(send, error)
            return
        await self._app(scope, _replayed(body, receive), send)

    def _admit(self, headers: dict[bytes, bytes]) -> None:
        if self._key is None:
            host = headers.get(b"host", b"").decode("latin-1")
            name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
            if name not in LOOPBACK:
                msg = "this server has no API key and answers to its loopback name only"
                raise ApiError(403, msg, code="forbidden_host")
            return
        scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
        right = hmac.compare_digest(given.strip(), self._key.encode())
        if scheme.lower() != b"bearer" or not right:
            msg = "wrong or missing API key; send it as 'Authorization: Bearer KEY'"
            raise ApiError(401, msg, code="invalid_api_key")

    async def _body(self, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        stated = headers.get(b"content-length", b"0")
        body = b""
        more = True
        while more:
            if (
                len(body) > self._max_body
                or int(stated if stated.isdigit() else 0) > self._max_body
            ):
                msg = f"the body is larger than {self._max_body:,} bytes"
                raise ApiError(413, msg, code="request_too_large")
            message = await receive()
            body += message.get("body", b"")
            more = message["type"] == "http.request" and message.get("more_body", False)
        if len(body) > self._max_body:
            msg = f"the body is larger than {self._max_body:,} bytes"
            raise ApiError(413, msg, code="request_too_large")
        return body


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Give a body that was read already, then what follows it."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


async def _refuse(send: Send, error: ApiError) -> None:
    body = json.dumps(error.body).encode()
    headers: list[Any] = [(b"content-type", b"application/json"), (b"connection", b"close")]
    if error.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
