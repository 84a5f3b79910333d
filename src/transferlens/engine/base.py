"""The frozen base model: loaded once, shared by every adapter of a process."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from transferlens.engine.encode import Codec
from transferlens.engine.locate import BaseFolder
from transferlens.errors import EngineError, MissingExtraError
from transferlens.study import ComputeSpec

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = [
    "Base",
    "keeping_base",
    "load_base",
    "load_codec",
    "resolve_device",
    "resolve_dtype",
    "use_threads",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """A loaded base model with its tokenizer; its weights are frozen."""

    name: str
    revision: str | None
    model: PreTrainedModel
    codec: Codec
    context: int
    """Longest row in tokens that the model can read."""
    device: torch.device
    dtype: str


def load_base(folder: BaseFolder, compute: ComputeSpec) -> Base:
    """Load a base model onto the device that the study asks for.

    Raises
    ------
    EngineError
        The device is not there, or the model cannot be loaded.
    """
    if not _kept:
        return _loaded(folder, compute)
    key = (folder.stamp, folder, compute.model_dump_json())
    if key not in _kept[-1]:
        # One at a time: the old one is let go before the new one needs its memory.
        _kept[-1].clear()
        _kept[-1][key] = _loaded(folder, compute)
    return _kept[-1][key]


_kept: list[dict[tuple[str, BaseFolder, str], Base]] = []
"""The last base that was loaded, while `keeping_base` holds on to it."""


@contextmanager
def keeping_base() -> Iterator[None]:
    """Let `load_base` give the last base again for as long as the same one is asked for."""
    _kept.append({})
    try:
        yield
    finally:
        _kept.pop()


def _loaded(folder: BaseFolder, compute: ComputeSpec) -> Base:
    import torch
    from transformers import AutoModelForCausalLM

    device = resolve_device(compute.device)
    use_threads(compute.threads)
    dtype = resolve_dtype(compute.dtype, device)
    placing = _placing(folder, compute, device, dtype)
    with _silent(), _explained(folder):
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            str(folder.path),
            dtype=getattr(torch, dtype),
            use_safetensors=True,
            trust_remote_code=folder.trust_remote_code,
            local_files_only=True,
            output_loading_info=True,
            **placing,
        )
        model, notes = loaded
        _check_weights(notes["missing_keys"])
        _check_places(model)
    model.requires_grad_(requires_grad=False)
    # Generation settings of the model (sampling, penalties) are not part of a study.
    return Base(
        name=folder.name,
        revision=folder.revision,
        # What accelerate has placed must not be moved.
        model=(model if placing else model.to(device)).eval(),
        codec=load_codec(folder),
        context=folder.context,
        device=model.device if placing else device,
        dtype=dtype,
    )


def _placing(
    folder: BaseFolder, compute: ComputeSpec, device: torch.device, dtype: str
) -> dict[str, Any]:
    """Return how the weights are rounded and spread, as transformers wants it; often not at all."""
    if folder.quantization is None:
        return {"device_map": compute.device_map} if compute.device_map else {}
    import torch
    from transformers import BitsAndBytesConfig

    if importlib.util.find_spec("bitsandbytes") is None:
        msg = (
            f"base.quantization={folder.quantization} needs bitsandbytes, which is not installed; "
            "run: pip install bitsandbytes"
        )
        raise MissingExtraError(msg)
    bits = BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_8bit=folder.quantization == "8bit",
        load_in_4bit=folder.quantization == "4bit",
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=getattr(torch, dtype),
    )
    return {"quantization_config": bits, "device_map": compute.device_map or {"": device}}


def _check_weights(missing: Collection[str]) -> None:
    """Refuse a model that lacks weights; transformers would draw them at random."""
    if missing:
        msg = f"its files lack {len(missing)} weights, such as {min(missing)}; get them anew"
        raise ValueError(msg)


def _check_places(model: PreTrainedModel) -> None:
    """Refuse weights that accelerate has left outside of all devices: none can be trained through.

    Gradients need the weights on the way back, where they are gone again.
    """
    absent = sum(weight.numel() for weight in model.parameters() if weight.is_meta)
    if absent:
        share = absent / sum(weight.numel() for weight in model.parameters())
        msg = (
            f"{share:.0%} of its weights fit no device, so nothing can be trained through them; "
            "set base.quantization, or take more or larger devices"
        )
        raise ValueError(msg)


def load_codec(folder: BaseFolder) -> Codec:
    """Load the tokenizer of a base model, and settle its special tokens.

    Raises
    ------
    EngineError
        It cannot be loaded.
    """
    from transformers import AutoTokenizer

    with _silent(), _explained(folder):
        tokenizer = AutoTokenizer.from_pretrained(
            str(folder.path), trust_remote_code=folder.trust_remote_code, local_files_only=True
        )
        stated = _generation_stops(folder)
    end = tokenizer.eos_token_id
    if end is None and stated:
        end = stated[0]
    start = next((i for i in (tokenizer.bos_token_id, end) if i is not None), 0)
    return Codec(
        tokenizer=tokenizer,
        end=end,
        stops=frozenset(stated) | ({end} if end is not None else set()),
        start=start,
        # Not the tokenizer's own, which may lie beyond the rows of the model's embedding.
        pad=0,
        closing=_n_closing(tokenizer),
    )


def _n_closing(tokenizer: PreTrainedTokenizerBase) -> int:
    """Return how many special tokens follow every text."""
    whole, bare = (
        list(tokenizer("a", add_special_tokens=flag)["input_ids"]) for flag in (True, False)
    )
    counts = range(len(whole) - len(bare) + 1)
    return next((n for n in counts if whole[len(whole) - n - len(bare) :][: len(bare)] == bare), 0)


def _generation_stops(folder: BaseFolder) -> list[int]:
    """Return the end tokens that the model's own configuration names; chat models have several."""
    file = folder.path / "generation_config.json"
    settings: dict[str, Any] = json.loads(file.read_bytes()) if file.is_file() else {}
    stated = settings.get("eos_token_id", folder.config.get("eos_token_id"))
    if stated is None:
        return []
    return [int(i) for i in (stated if isinstance(stated, list) else [stated])]


def resolve_device(wanted: str) -> torch.device:
    """Return the device that a study asks for; ``auto`` is an accelerator where there is one.

    Raises
    ------
    EngineError
        The device cannot be used here.
    """
    import torch

    if wanted == "auto":
        found = torch.accelerator.current_accelerator(check_available=True)
        wanted = found.type if found is not None else "cpu"
    try:
        device = torch.device(wanted)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        msg = f"compute.device={wanted!r} cannot be used here ({reason}); use 'auto' or 'cpu'"
        raise EngineError(msg) from None
    return device


def resolve_dtype(wanted: str, device: torch.device) -> str:
    """Return the name of torch's type for the base's weights; ``auto`` depends on the device."""
    import torch

    if wanted != "auto":
        return wanted
    capable = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bfloat16" if capable else "float32"


def use_threads(wanted: int | None) -> None:
    """Let torch compute with so many threads; None leaves it as it is."""
    import torch

    if wanted is not None:
        torch.set_num_threads(wanted)


@contextmanager
def _explained(folder: BaseFolder) -> Iterator[None]:
    from safetensors import SafetensorError

    try:
        yield
    except (
        OSError, ValueError, RuntimeError, KeyError, ImportError, SafetensorError
    ) as error:  # fmt: skip
        reason = " ".join(str(error).split())
        hint = ""
        if "trust_remote_code" in reason:
            hint = "; set base.trust_remote_code=true if you trust the code that comes with it"
        msg = f"base model {folder.name!r} cannot be loaded: {reason[:300]}{hint}"
        raise EngineError(msg) from None


@contextmanager
def _silent() -> Iterator[None]:
    """Silence transformers' bars and advice for a while; what matters arrives as an error."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]
