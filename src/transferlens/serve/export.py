"""A study's adapters as vLLM loads them, with a command that serves them."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transferlens.errors import AnalysisError, ResultsError, did_you_mean
from transferlens.report.passport import passport
from transferlens.report.passport_card import model_card, write_card
from transferlens.results import TransferStudy
from transferlens.results.files import os_errors, write_atomically
from transferlens.results.plan import checked_name
from transferlens.serve.skills import Skill, skills_of
from transferlens.transfer import transfer_matrix

__all__ = ["VllmExport", "export_vllm"]

_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""Values that vLLM takes for --max-lora-rank in every version that we know of."""

_FILES = ("adapter_config.json", "adapter_model.safetensors")


@dataclass(frozen=True, slots=True, kw_only=True)
class VllmExport:
    """What was written."""

    folder: Path
    adapters: tuple[str, ...]
    command: str
    max_rank: int


def export_vllm(
    study: TransferStudy,
    output: str | Path,
    *,
    served_name: str,
    model: str | None = None,
    adapters: Sequence[str] = (),
    licence: str = "",
) -> VllmExport:
    """Write adapters in the form that vLLM loads, each with its passport.

    Parameters
    ----------
    output
        A folder that does not exist yet, or is empty.
    served_name
        Name of the base at the server.
    model
        Base as vLLM is to load it; by default what the study names.
    adapters
        Names to export (``source`` or ``source@seed``); by default one per source.
    licence
        Of the adapters, for their cards.

    Raises
    ------
    AnalysisError
        An adapter is of a kind that vLLM cannot serve, or is not known.
    ResultsError
        The folder holds something, or cannot be written.
    """
    chosen = _chosen(study, adapters)
    configs = {name: _config(skill) for name, skill in chosen.items()}
    base = model or _base_of(study)
    rank = max(int(config["r"]) for config in configs.values())
    limit = next((value for value in _RANKS if value >= rank), None)
    if limit is None:
        msg = f"rank {rank} is more than vLLM serves ({_RANKS[-1]})"
        raise AnalysisError(msg)
    folder = _empty(Path(output))
    matrix = transfer_matrix(study)
    for name, skill in chosen.items():
        place = folder / "adapters" / name
        with os_errors("write", place):
            place.mkdir(parents=True)
            shutil.copyfile(skill.folder / _FILES[1], place / _FILES[1])
        config = {**configs[name], "base_model_name_or_path": base}
        write_atomically(place / _FILES[0], (json.dumps(config, indent=2) + "\n").encode())
        found = passport(study, skill.source, matrix=matrix)
        write_card(model_card(found, study, licence=licence), place)
    command = _command(base, served_name, list(chosen), limit)
    write_atomically(folder / "serve.sh", _script(command).encode())
    (folder / "serve.sh").chmod(0o755)
    write_atomically(folder / "README.md", _readme(command, list(chosen)).encode())
    return VllmExport(folder=folder, adapters=tuple(chosen), command=command, max_rank=limit)


def _chosen(study: TransferStudy, names: Sequence[str]) -> dict[str, Skill]:
    """Return adapters under the names that they will have."""
    known = skills_of(study)
    wanted = list(names) or [name for name in known if "@" not in name]
    found = {}
    for name in wanted:
        if name not in known:
            msg = f"no adapter {name!r}.{did_you_mean(name, known)}"
            raise AnalysisError(msg)
        # A folder may not be called as a seed is written here.
        found[checked_name(name.replace("@", "-s"))] = known[name]
    return found


def _config(skill: Skill) -> dict[str, Any]:
    """Read an adapter's configuration, and refuse what vLLM does not serve."""
    file = skill.folder / _FILES[0]
    if not file.is_file():
        msg = f"vLLM serves low-rank adapters only, and {skill.name} is none (no {file.name})"
        raise AnalysisError(msg)
    config: dict[str, Any] = json.loads(file.read_bytes())
    kind = str(config.get("peft_type"))
    faults = {
        f"method {kind}": kind != "LORA",
        "DoRA": bool(config.get("use_dora")),
        "trained biases": config.get("bias", "none") != "none",
        "modules_to_save": bool(config.get("modules_to_save")),
        "ranks that differ between layers": bool(config.get("rank_pattern")),
        "alphas that differ between layers": bool(config.get("alpha_pattern")),
    }
    wrong = [name for name, is_so in faults.items() if is_so]
    if wrong:
        msg = f"vLLM cannot serve {skill.name}: {', '.join(wrong)}; it serves LoRA and rsLoRA"
        raise AnalysisError(msg)
    return config


def _base_of(study: TransferStudy) -> str:
    spec = study.spec
    model = str(study.plan.base.get("model", "")) if study.plan else ""
    if spec is None or not model:
        msg = "the study names no base model; give one with --model"
        raise AnalysisError(msg)
    return model


def _empty(folder: Path) -> Path:
    with os_errors("write", folder):
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            msg = f"{folder} is not empty; give a new folder"
            raise ResultsError(msg)
    return folder


def _command(base: str, served_name: str, names: Sequence[str], rank: int) -> str:
    words = ["vllm", "serve", base, "--served-model-name", served_name, "--enable-lora"]
    words += ["--max-lora-rank", str(rank), "--max-loras", str(min(len(names), 8))]
    words += ["--max-cpu-loras", str(len(names)), "--lora-modules"]
    return shlex.join(words + [f"{name}=adapters/{name}" for name in names])


def _script(command: str) -> str:
    about = "# Serves the base and every adapter beside this file."
    return f'#!/bin/sh\n{about}\ncd "$(dirname "$0")" || exit 1\nexec {command} "$@"\n'


def _readme(command: str, names: Sequence[str]) -> str:
    listed = "\n".join(f"- [`{name}`](adapters/{name}/README.md)" for name in names)
    return f"""# Adapters for vLLM

```sh
{command}
```

Run it in this folder, or `./serve.sh`, which does. Requests name an adapter as their `model`.
The command follows vLLM's documentation of LoRA adapters; it has not been run against vLLM here.

What each adapter helps and harms stands in its passport:

{listed}
"""
