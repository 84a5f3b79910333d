"""A study that is ready to answer: base, adapters, router, and the limits of requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from transferlens.errors import AnalysisError, EngineError, ResultsError, did_you_mean
from transferlens.results import TransferStudy, open_study
from transferlens.serve.protocol import ApiError, ChatRequest, CompletionRequest, Message
from transferlens.serve.route import Router, fit_router
from transferlens.serve.skills import AUTO, BASE_MODEL, Skill, skills_of
from transferlens.study import StudySpec

if TYPE_CHECKING:
    from transferlens.engine.locate import BaseFolder
    from transferlens.engine.serving import AdapterPool, Writing

__all__ = ["Asked", "Served", "open_served"]

_DEFAULT_TOKENS = 16
"""Tokens of a completion, as OpenAI has it; a chat may use all that are left."""


class Asked(NamedTuple):
    """A request as the engine takes it, and what its answer's headers say."""

    job: Writing
    adapter: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Served:
    """Everything that answers requests."""

    pool: AdapterPool
    skills: Mapping[str, Skill]
    router: Router | None
    without_router: str
    """Why there is none."""
    max_length: int
    """Tokens of a prompt with its answer at most."""

    def asked(self, request: ChatRequest | CompletionRequest) -> Asked:
        """Turn a request into rows for the engine.

        Raises
        ------
        ApiError
            404: no such model; 400: the prompt is too long.
        """
        routed, prompt = self._prompt(request)
        adapter, name, reason = self._chosen(request.model, routed)
        tokens = self.pool.base.codec.prompts([prompt])[0]
        job = self._job(request, tokens, adapter)
        return Asked(job, name, reason)

    def _prompt(self, request: ChatRequest | CompletionRequest) -> tuple[str, str]:
        """Return the text that is routed, and the prompt that the model reads."""
        if isinstance(request, CompletionRequest):
            return request.text, request.text
        users = [message.text for message in request.messages if message.role == "user"]
        if not users:
            msg = "messages: there is none of the user"
            raise ApiError(400, msg, code="invalid_value", param="messages")
        tokenizer: Any = self.pool.base.codec.tokenizer
        if tokenizer.chat_template is None:
            return users[-1], users[-1]
        return users[-1], _templated(tokenizer, request.messages)

    def _chosen(self, model: str, prompt: str) -> tuple[str | None, str, str]:
        """Return the adapter's key, the name for the header, and the reason."""
        if model == BASE_MODEL:
            return None, BASE_MODEL, "asked for"
        if model != AUTO:
            if model not in self.skills:
                known = [BASE_MODEL, AUTO, *self.skills]
                msg = f"no model {model[:80]!r}.{did_you_mean(model[:80], known)}"
                raise ApiError(404, msg, code="model_not_found", param="model")
            name = self.skills[model].name
            return name, name, "asked for"
        if self.router is None:
            raise ApiError(400, self.without_router, code="no_router", param="model")
        route = self.router(prompt)
        if route.adapter is None:
            return None, BASE_MODEL, route.reason
        if route.adapter not in self.skills:
            reason = f"{route.reason}; but its adapter is not finished, so the base answers"
            return None, BASE_MODEL, reason
        name = self.skills[route.adapter].name
        return name, name, route.reason

    def _job(
        self,
        request: ChatRequest | CompletionRequest,
        tokens: tuple[int, ...],
        adapter: str | None,
    ) -> Writing:
        from transferlens.engine.serving import Writing

        chat = isinstance(request, ChatRequest)
        left = self.max_length - len(tokens)
        wanted = request.max_tokens
        if isinstance(request, ChatRequest):
            wanted = request.max_completion_tokens or wanted
        budget = wanted or (left if chat else min(_DEFAULT_TOKENS, left))
        if left < 1 or budget > left:
            msg = (
                f"the prompt has {len(tokens)} tokens and the answer may have {max(budget, 1)}; "
                f"together at most {self.max_length} are allowed"
            )
            raise ApiError(400, msg, code="context_length_exceeded", param="max_tokens")
        seed = None if request.seed is None else request.seed % 2**64
        return Writing(
            prompt=tokens,
            adapter=adapter,
            budget=budget,
            stop=request.stops,
            temperature=request.temperature or 0.0,
            top_p=request.top_p or 1.0,
            rng=np.random.default_rng(seed),
        )


def _templated(tokenizer: Any, messages: Sequence[Message]) -> str:
    from jinja2 import TemplateError

    turns = [{"role": message.role, "content": message.text} for message in messages]
    try:
        return str(tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False))
    except TemplateError as error:
        msg = f"messages: the model's chat template refuses them: {error}"
        raise ApiError(400, msg, code="invalid_value", param="messages") from None


def open_served(
    folder: str | Path,
    *,
    max_adapters: int | None = None,
    max_bytes: float | None = None,
    max_length: int | None = None,
) -> Served:
    """Load a study's base, and get everything ready to answer.

    Parameters
    ----------
    max_adapters, max_bytes
        Adapters, and bytes of them, that are in memory at most.
    max_length
        Tokens of a prompt with its answer; the model's context unless given.

    Raises
    ------
    ResultsError
        The folder holds no finished adapters, or was imported.
    EngineError
        The base cannot be loaded.
    """
    from transferlens.engine.base import load_base
    from transferlens.engine.serving import AdapterPool

    study = open_study(folder)
    skills, spec = skills_of(study), study.spec
    if spec is None:
        msg = f"{folder} was imported and names no base model, so it cannot be served"
        raise ResultsError(msg)
    base = load_base(_base_folder(study, spec), spec.compute)
    router, why = _router(study)
    limit = base.context if max_length is None else min(max_length, base.context)
    folders = {skill.name: skill.folder for skill in skills.values()}
    pool = AdapterPool(base, folders, max_adapters=max_adapters, max_bytes=max_bytes)
    return Served(pool=pool, skills=skills, router=router, without_router=why, max_length=limit)


def _base_folder(study: TransferStudy, spec: StudySpec) -> BaseFolder:
    """Find the very base that the adapters were trained on."""
    from transferlens.engine.locate import locate_base

    known = study.plan.base if study.plan else {}
    model = str(known.get("model", spec.base.model))
    # A study file names a folder from where it stands; the plan knows which one that was.
    if Path(model).is_absolute():
        spec = spec.model_copy(update={"base": spec.base.model_copy(update={"model": model})})
    found = locate_base(spec)
    if found.stamp != known.get("stamp") and found.fingerprint != known.get("fingerprint"):
        msg = f"the base {found.name} is not the one that the adapters were trained on; get it anew"
        raise EngineError(msg)
    return found


def _router(study: TransferStudy) -> tuple[Router | None, str]:
    try:
        return fit_router(study), ""
    except AnalysisError as error:
        return None, f"model 'auto' is not available: {error}"
