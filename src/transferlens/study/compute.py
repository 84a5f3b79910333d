"""Where a study runs: device, executor, and what its workers ask a cluster for."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from transferlens.study.part import Part

__all__ = ["ComputeSpec", "RaySpec", "SlurmSpec", "as_bytes", "as_minutes"]

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_MEMORY = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", re.IGNORECASE)
_WORDED = re.compile(r"(?=.)(?:(\d+)d)? ?(?:(\d+)h)? ?(?:(\d+)m(?:in)?)?")
_CLOCK = re.compile(r"(?:(\d+)-)?(\d+):(\d\d):(\d\d)")


def as_bytes(value: Any) -> Any:
    """Return the bytes of a size such as ``16GB`` or ``512MiB``; a number is bytes already.

    Raises
    ------
    ValueError
        It is no such size.
    """
    if not isinstance(value, str):
        return value
    if (match := _MEMORY.fullmatch(value.strip())) is None:
        msg = f"{value!r} is no amount of memory; write it as 16GB or 512MB"
        raise ValueError(msg)
    number, unit, binary = match.groups()
    factor = _UNITS[unit.lower()]
    return round(float(number) * (1024 ** round(math.log(factor, 1000)) if binary else factor))


def as_minutes(text: str) -> int:
    """Return the whole minutes of a time, rounded up.

    ``4h``, ``90min``, ``1d12h``, or as Slurm writes it: ``2-12:30:00``, ``12:30:00``.

    Raises
    ------
    ValueError
        It is no such time, or none at all.
    """
    worded, clock = _WORDED.fullmatch(text.strip()), _CLOCK.fullmatch(text.strip())
    if worded is None and clock is None:
        msg = f"{text!r} is no time; write it as 4h, 90min, 1d12h or '2-12:30:00'"
        raise ValueError(msg)
    found = worded or clock
    parts = [int(part or 0) for part in found.groups()] if found else []
    days, hours, minutes, seconds = (*parts, 0)[:4]
    total = 1440 * days + 60 * hours + minutes + math.ceil(seconds / 60)
    if not total:
        msg = "no time at all; write it as 4h, 90min, 1d12h or '2-12:30:00'"
        raise ValueError(msg)
    return total


def _time(value: Any) -> str:
    if not isinstance(value, str):
        # YAML reads 1:30:00 as 5400: nobody could tell what was meant.
        msg = "write the time with its unit, such as 4h or 90min, or in quotes: '12:30:00'"
        raise ValueError(msg)  # noqa: TRY004 - pydantic reports ValueErrors with their place
    as_minutes(value)
    return value


Memory = Annotated[int, BeforeValidator(as_bytes), Field(ge=1)]
Time = Annotated[str, BeforeValidator(_time)]


class RaySpec(Part):
    """A Ray cluster."""

    address: str | None = None
    """Address of the head, such as ``head:6379``, or ``auto``: the cluster of this machine.
    Default: what RAY_ADDRESS says, else a cluster of this machine alone for as long as the run."""


class SlurmSpec(Part):
    """What every job asks Slurm for, beside the fields of ``compute``."""

    partition: str | None = None
    time: Time = "4h"
    """Longest time of a job."""
    setup: tuple[str, ...] = ()
    """Shell commands before the work, such as ``module load cuda``."""
    extra: dict[str, Any] = Field(default_factory=dict)
    """Other options of sbatch by their long names, such as ``account``."""
    cluster: Literal["slurm", "local"] = "slurm"
    """``local`` tries the same jobs without Slurm, as processes of this machine."""


class ComputeSpec(Part):
    """Where a study runs. None of it is part of an adapter's identity but ``dtype``."""

    device: str = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """``auto``: bfloat16 on an accelerator that has it, else float32."""
    device_map: Literal["auto"] | None = None
    """``auto`` spreads one base over all accelerators of a worker, by accelerate."""
    threads: Annotated[int, Field(ge=1)] | None = None
    checkpointing: bool | None = None
    """Whether training computes hidden states again in place of keeping them: less memory, more
    time, the same bits. Default: where the machine's memory would not do otherwise."""
    executor: Literal["local", "ray", "slurm"] = "local"
    """What starts the workers: this process, a Ray cluster, or Slurm."""
    workers: Annotated[int, Field(ge=1)] | None = None
    """How many work at once. Default: ``local`` one per accelerator, ``ray`` as many as the
    cluster has room for, ``slurm`` one per adapter, 32 at most."""
    cpus: Annotated[int, Field(ge=1)] | None = None
    """Processors of one worker of ``ray`` and ``slurm``. Default: 1."""
    gpus: Annotated[int, Field(ge=0)] | None = None
    """Accelerators of one worker of ``ray`` and ``slurm``. Default: ``ray`` one where the cluster
    has any, ``slurm`` none."""
    memory: Memory | None = None
    """Memory of one worker of ``ray`` and ``slurm``, such as ``16GB``."""
    ray: RaySpec = Field(default_factory=RaySpec)
    slurm: SlurmSpec = Field(default_factory=SlurmSpec)
