"""Requests and answers in the form of OpenAI's API; what is not supported is refused by name."""

from __future__ import annotations

import json
import time
import uuid
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from transferlens.errors import did_you_mean

__all__ = [
    "ApiError",
    "ChatRequest",
    "CompletionRequest",
    "Message",
    "answer",
    "chunk",
    "new_id",
    "parse",
    "usage",
]

_IGNORED = {
    "user", "metadata", "store", "service_tier", "parallel_tool_calls", "safety_identifier",
    "prompt_cache_key", "prompt_cache_retention",
}  # fmt: skip
"""Fields that change nothing about the answer."""

_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "best_of": (1,),
    "echo": (False,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "suffix": ("",),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logit_bias": ({},),
    "response_format": ({"type": "text"},),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "modalities": (["text"],),
}
"""Fields that are not supported, with the values that ask for nothing."""


class ApiError(Exception):
    """An error as OpenAI's clients read it."""

    def __init__(self, status: int, message: str, *, code: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.param = status, code, param

    @property
    def body(self) -> dict[str, Any]:
        """The error as JSON values."""
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        kind = {401: "authentication_error", 429: "rate_limit_error"}.get(self.status, kind)
        return {
            "error": {
                "message": str(self), "type": kind, "param": self.param, "code": self.code
            }
        }  # fmt: skip


class _Part(BaseModel):
    type: Literal["text"]
    text: str


class Message(BaseModel):
    """One message of a conversation; only text."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[_Part]

    @property
    def text(self) -> str:
        """What it says."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content)


class _StreamOptions(BaseModel):
    include_usage: bool = False


class _Request(BaseModel):
    model_config = ConfigDict(extra="allow", strict=False)

    model: Annotated[str, Field(min_length=1, max_length=200)]
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: str | Annotated[list[str], Field(max_length=4)] | None = None
    stream: bool | None = False
    stream_options: _StreamOptions | None = None

    @property
    def stops(self) -> tuple[str, ...]:
        """Texts that end the answer."""
        given = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return tuple(text for text in given if text)

    @property
    def with_usage(self) -> bool:
        """Whether the last event of a stream counts tokens."""
        return self.stream_options is not None and self.stream_options.include_usage


class ChatRequest(_Request):
    """Body of ``/v1/chat/completions``."""

    messages: Annotated[list[Message], Field(min_length=1)]
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None


class CompletionRequest(_Request):
    """Body of ``/v1/completions``."""

    prompt: str | Annotated[list[str], Field(min_length=1, max_length=1)]

    @property
    def text(self) -> str:
        """The one prompt."""
        return self.prompt if isinstance(self.prompt, str) else self.prompt[0]


_Kind = TypeVar("_Kind", ChatRequest, CompletionRequest)


def parse(kind: type[_Kind], body: bytes) -> _Kind:
    """Read a request.

    Raises
    ------
    ApiError
        400: it is not JSON, a field has a wrong value, is not known or not supported.
    """
    try:
        request = kind.model_validate(json.loads(body))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        msg = f"{place}: {first['msg']}"
        raise ApiError(400, msg, code="invalid_value", param=place) from None
    except (ValueError, RecursionError):
        msg = "the body is not JSON"
        raise ApiError(400, msg, code="invalid_json") from None
    for name, value in (request.model_extra or {}).items():
        if name in _IGNORED or value is None or value in _NEUTRAL.get(name, ()):
            continue
        if name in _NEUTRAL:
            msg = f"{name} is not supported here; leave it out"
            raise ApiError(400, msg, code="unsupported_parameter", param=name)
        known = {*ChatRequest.model_fields, *CompletionRequest.model_fields, *_NEUTRAL}
        msg = f"unknown field {name[:80]!r}.{did_you_mean(name[:80], known)}"
        raise ApiError(400, msg, code="unknown_parameter", param=name[:80])
    return request


def new_id(*, chat: bool) -> str:
    """Return an id for an answer."""
    return f"{'chatcmpl' if chat else 'cmpl'}-{uuid.uuid4().hex}"


def usage(n_prompt: int, n_written: int) -> dict[str, int]:
    """Return the counts of an answer."""
    total = n_prompt + n_written
    return {
        "prompt_tokens": n_prompt, "completion_tokens": n_written, "total_tokens": total
    }  # fmt: skip


def answer(
    *, chat: bool, model: str, text: str, finish: str, n_prompt: int, n_written: int
) -> dict[str, Any]:
    """Return the body of an answer."""
    choice: dict[str, Any] = {"index": 0, "finish_reason": finish, "logprobs": None}
    choice |= (
        {"message": {"role": "assistant", "content": text, "refusal": None}}
        if chat
        else {"text": text}
    )
    return {
        "id": new_id(chat=chat),
        "object": "chat.completion" if chat else "text_completion",
        "created": int(time.time()),
        "model": model,
        "choices": [choice],
        "usage": usage(n_prompt, n_written),
    }


def chunk(
    *,
    chat: bool,
    name: str,
    model: str,
    text: str | None,
    finish: str | None,
    opening: bool = False,
) -> dict[str, Any]:
    """Return the body of one event of a stream; without a text it only says how it ended."""
    choice: dict[str, Any] = {"index": 0, "finish_reason": finish, "logprobs": None}
    if chat:
        choice["delta"] = {"role": "assistant"} if opening else {}
        if text is not None:
            choice["delta"]["content"] = text
    else:
        choice["text"] = text or ""
    return {
        "id": name,
        "object": "chat.completion.chunk" if chat else "text_completion",
        "created": int(time.time()),
        "model": model,
        "choices": [choice],
    }
