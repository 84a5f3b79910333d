"""Where a base model lies, and what it is: a folder, its configuration, its fingerprint.

Needs neither torch nor transformers, so that a finished study is recognised at once.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from transferlens.errors import EngineError, SpecError
from transferlens.study import StudySpec
from transferlens.tasks.hub import hub_answers

__all__ = ["BaseFolder", "locate_base"]

_EMBEDDED = Path(__file__).parent / "embedded"

# What decides a model's answers: weights, configuration, tokenizer, code.
_PATTERNS = (
    "*.safetensors", "*.safetensors.index.json", "config.json", "generation_config.json",
    "tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt",
    "*.tiktoken", "*.model", "*.py",
)  # fmt: skip

_CONTEXT_FIELDS = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "seq_length")
_DEFAULT_CONTEXT = 2048  # for models that state none, as lm-evaluation-harness has it


@dataclass(frozen=True, kw_only=True)
class BaseFolder:
    """A base model on this machine."""

    name: str
    """What adapters record as their base: an absolute folder or a hub id."""
    revision: str | None
    path: Path
    trust_remote_code: bool
    quantization: str | None = None
    """Bits to which the weights are rounded when they are loaded: another base model."""

    @cached_property
    def config(self) -> dict[str, Any]:
        """The model's ``config.json``; of several parts, the one that writes text."""
        value = _read_json(self.path / "config.json")
        text: dict[str, Any] = value.get("text_config") or value
        return text

    @property
    def context(self) -> int:
        """Longest row in tokens that the model can read."""
        stated = (self.config.get(name) for name in _CONTEXT_FIELDS)
        return next((value for value in stated if isinstance(value, int)), _DEFAULT_CONTEXT)

    @cached_property
    def files(self) -> list[Path]:
        """Files that decide what the model answers, sorted by name."""
        found = {file for pattern in _PATTERNS for file in self.path.glob(pattern)}
        return sorted(file for file in found if file.is_file())

    @cached_property
    def stamp(self) -> str:
        """Hash of names, sizes and times of the files: equal if nobody wrote to them."""
        seen = [(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in self.files]
        stated = json.dumps([str(self.path), seen, *self._loaded])
        return hashlib.sha256(stated.encode()).hexdigest()

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the files' content, and how it is loaded; reads all of them."""
        # Hashing releases the interpreter, so several files go at once.
        with ThreadPoolExecutor(max_workers=4) as pool:
            hashes = list(pool.map(_sha256, self.files))
        named = [(file.name, digest) for file, digest in zip(self.files, hashes, strict=True)]
        return hashlib.sha256(json.dumps([*named, *self._loaded]).encode()).hexdigest()

    @property
    def _loaded(self) -> list[str]:
        return [self.quantization] if self.quantization else []

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of all weights, read from the headers of the files."""
        return {name: shape for file in self._weight_files for name, shape in _header(file)}

    @property
    def stored_bytes(self) -> int:
        """Bytes of the weights on disk."""
        return sum(file.stat().st_size for file in self._weight_files)

    @property
    def _weight_files(self) -> list[Path]:
        """Files that are loaded: some folders hold the weights twice, in other formats too."""
        return [self.path / name for name in _weight_names(self.path)]


def _read_json(file: Path) -> dict[str, Any]:
    try:
        value = json.loads(file.read_bytes())
    except ValueError:
        value = None
    if not isinstance(value, dict):
        msg = f"{file} is damaged: it does not hold a JSON object; get it anew"
        raise EngineError(msg)
    return value


def _weight_names(folder: Path) -> list[str]:
    """Return the names of the weight files that the folder ought to have, sorted."""
    index = folder / "model.safetensors.index.json"
    if not (folder / "model.safetensors").is_file() and index.is_file():
        return sorted(set(_read_json(index)["weight_map"].values()))
    return ["model.safetensors"]


def _sha256(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _header(file: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    try:
        with file.open("rb") as handle:
            (size,) = struct.unpack("<Q", handle.read(8))
            # A damaged length can be any number; that much is never read.
            header = json.loads(handle.read(min(size, file.stat().st_size)))
    except (struct.error, ValueError):
        msg = f"{file} is damaged: it does not begin with a header of tensors; get it anew"
        raise EngineError(msg) from None
    for name, entry in header.items():
        if name != "__metadata__":
            yield name, tuple(entry["shape"])


def locate_base(spec: StudySpec) -> BaseFolder:
    """Find the base model of a study; one on the hub is downloaded unless it is here already.

    Raises
    ------
    SpecError
        A local folder does not exist.
    EngineError
        The folder holds no model in safetensors format, or the hub has no
        such model or cannot be reached.
    """
    model, revision = spec.base.model, spec.base.revision
    where = f"{spec.where('base')}: base model {model!r}"
    folder = _EMBEDDED if model == "embedded" else (spec.root / Path(model).expanduser()).absolute()
    hub = not folder.is_dir()
    if hub:
        if not _is_hub_id(model):
            msg = f"{where} is neither a folder in {spec.root} nor a hub id such as 'org/model'"
            raise SpecError(msg)
        folder = _from_hub(model, revision, where)
    _check(folder, where)
    return BaseFolder(
        name=model if hub else str(folder),
        revision=revision if hub else None,
        path=folder,
        trust_remote_code=spec.base.trust_remote_code,
        quantization=spec.base.quantization,
    )


def _is_hub_id(model: str) -> bool:
    return model.count("/") <= 1 and not model.startswith((".", "/", "~")) and model != "embedded"


def _from_hub(model: str, revision: str | None, where: str) -> Path:
    """Return the folder of a model in the hub's cache, after downloading it where needed."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    wanted: dict[str, Any] = {"revision": revision, "allow_patterns": list(_PATTERNS)}
    try:
        # A study goes on with the files that it began with.
        here = Path(snapshot_download(model, local_files_only=True, **wanted))
    except (LocalEntryNotFoundError, ValueError):
        here = None
    if here is not None and _is_complete(here):
        return here
    if not hub_answers():
        msg = (
            f"{where} is not on this machine and the hub cannot be reached: connect, or fetch it "
            f"elsewhere with `hf download {model} --local-dir DIR` and give that folder as base"
        )
        raise EngineError(msg)
    try:
        return Path(snapshot_download(model, **wanted))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        msg = f"{where} cannot be downloaded: {' '.join(str(error).split())[:300]}"
        raise EngineError(msg) from None


def _is_complete(folder: Path) -> bool:
    """Whether a folder in the hub's cache has every weight file that it ought to have."""
    names = ["config.json", *_weight_names(folder)]
    return all((folder / name).is_file() for name in names)


def _check(folder: Path, where: str) -> None:
    if not (folder / "config.json").is_file():
        msg = f"{where}: {folder} has no config.json; give a folder in Hugging Face format"
        raise EngineError(msg)
    absent = [name for name in _weight_names(folder) if not (folder / name).is_file()]
    if not absent:
        return
    pickled = [file.name for pattern in ("*.bin", "*.pt", "*.pth") for file in folder.glob(pattern)]
    why = (
        f"has its weights only as pickle ({pickled[0]}), which can run code when it is loaded"
        if pickled
        else f"has no {absent[0]}"
    )
    msg = f"{where}: {folder} {why}; save it with model.save_pretrained(DIR) as safetensors"
    raise EngineError(msg)
