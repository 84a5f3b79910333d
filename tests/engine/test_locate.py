"""Finding a base model: folders, the hub's cache, no network, no foreign code."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from tiny_models import folder_of, open_base, spec_for

from transferlens.engine.base import load_base
from transferlens.engine.locate import BaseFolder, locate_base
from transferlens.errors import EngineError, SpecError
from transferlens.study import ComputeSpec

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OLDER = "89abcdef0123456789abcdef0123456789abcdef"


@pytest.fixture
def copy(model_folder: Callable[[str], Path], tmp_path: Path) -> Path:
    """Copy of a model that a test may damage."""
    return Path(shutil.copytree(model_folder("llama"), tmp_path / "copy"))


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty cache of a hub that refuses every connection."""
    folder = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    return folder


def put_in_cache(cache: Path, repo: str, files: Path, *, commit: str, ref: str | None) -> Path:
    """Lay files out as the hub's client does: blobs, a snapshot of links, a ref."""
    home = cache / f"models--{repo.replace('/', '--')}"
    snapshot, blobs = home / "snapshots" / commit, home / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir(exist_ok=True)
    for file in files.iterdir():
        blob = blobs / f"{commit[:4]}-{file.name}"
        shutil.copyfile(file, blob)
        (snapshot / file.name).symlink_to(os.path.relpath(blob, snapshot))
    if ref is not None:
        (home / "refs").mkdir(exist_ok=True)
        (home / "refs" / ref).write_text(commit)
    return snapshot


def test_a_local_folder_is_named_by_its_absolute_path(model_folder):
    folder = model_folder("llama")
    found = locate_base(spec_for(folder.name, root=folder.parent))
    assert found.path == folder
    assert found.name == str(folder)
    assert Path(found.name).is_absolute()
    assert (found.revision, found.trust_remote_code) == (None, False)
    assert found.context == 256


def test_the_shapes_are_those_of_the_loaded_model(model_folder):
    for family in ("llama", "gpt2", "qwen2"):
        found = folder_of(model_folder(family)).shapes
        model = open_base(model_folder(family)).model
        expected = {name: tuple(w.shape) for name, w in model.named_parameters()}
        prefix = "transformer." if family == "gpt2" else ""
        assert {name.removeprefix(prefix) for name in expected} == {
            name.removeprefix(prefix) for name in found
        }
        assert sorted(found.values()) == sorted(expected.values())


def one_line(spec_base: str, error: type[Exception], **base) -> str:
    with pytest.raises(error) as caught:
        locate_base(spec_for(spec_base, **base))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_folder_without_a_configuration_is_refused(tmp_path):
    assert "has no config.json" in one_line(str(tmp_path), EngineError)


def test_weights_that_are_only_there_as_pickle_are_refused(copy):
    weights = load_file(copy / "model.safetensors")
    torch.save(weights, copy / "pytorch_model.bin")
    (copy / "model.safetensors").unlink()
    text = one_line(str(copy), EngineError)
    assert "only as pickle (pytorch_model.bin)" in text
    assert "save_pretrained" in text


def test_a_missing_part_of_the_weights_is_named(copy):
    (copy / "model.safetensors").unlink()
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors"}}
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "has no model-00001-of-00002.safetensors" in one_line(str(copy), EngineError)


def test_a_path_that_does_not_exist_is_no_hub_id(tmp_path):
    for name in ("./nowhere", "a/b/c", str(tmp_path / "nowhere"), "~/nowhere/at/all"):
        assert "neither a folder" in one_line(name, SpecError)


@pytest.mark.parametrize("content", ["{", "[]", "\udcff"])
def test_a_damaged_configuration_is_one_clear_error(copy, content):
    (copy / "config.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(EngineError, match=r"config\.json is damaged"):
        _ = folder_of(copy).context


@pytest.mark.parametrize("content", [b"", b"hello", b"not a tensor " * 9, b"\2" + bytes(7) + b"{"])
def test_damaged_weights_are_one_clear_error_even_when_only_their_sizes_are_read(copy, content):
    (copy / "model.safetensors").write_bytes(content)
    with pytest.raises(EngineError, match=r"model\.safetensors is damaged"):
        _ = folder_of(copy).shapes


def test_the_weights_are_counted_once_when_they_are_there_twice(copy):
    before = folder_of(copy)
    size, shapes = before.stored_bytes, before.shapes
    shutil.copyfile(copy / "model.safetensors", copy / "consolidated.safetensors")
    after = folder_of(copy)
    assert (after.stored_bytes, after.shapes) == (size, shapes)


def spy_on_downloads(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Record for each call of the hub's client whether it may use the network."""
    calls: list[bool] = []
    real = huggingface_hub.snapshot_download

    def spy(*args, **more):
        calls.append(not more.get("local_files_only", False))
        return real(*args, **more)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", spy)
    return calls


@pytest.mark.usefixtures("hub_cache")
@pytest.mark.parametrize("offline", [True, False])
def test_without_the_hub_a_missing_model_is_one_sentence_and_no_download_is_tried(
    monkeypatch, offline
):
    """The client itself would try for half a minute: it is not even asked."""
    if offline:
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    downloads = spy_on_downloads(monkeypatch)
    text = one_line("some-org/some-model", EngineError)
    assert "'some-org/some-model' is not on this machine and the hub cannot be reached" in text
    assert "hf download some-org/some-model --local-dir DIR" in text
    assert not any(downloads)


@pytest.mark.parametrize("offline", [True, False])
def test_a_model_in_the_hubs_cache_is_used_without_the_hub(
    hub_cache, model_folder, monkeypatch, offline
):
    snapshot = put_in_cache(hub_cache, "org/tiny", model_folder("llama"), commit=COMMIT, ref="main")
    if offline:
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    found = folder_of("org/tiny")
    assert found.path == snapshot
    assert found.name == "org/tiny"
    assert found.fingerprint == folder_of(model_folder("llama")).fingerprint
    loaded = open_base("org/tiny").model.state_dict()
    for name, weight in load_file(snapshot / "model.safetensors").items():
        assert torch.equal(loaded[name], weight)


def test_a_revision_picks_its_own_snapshot(hub_cache, model_folder, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    new = put_in_cache(hub_cache, "org/tiny", model_folder("llama"), commit=COMMIT, ref="main")
    old = put_in_cache(hub_cache, "org/tiny", model_folder("gpt2"), commit=OLDER, ref="v1")
    assert folder_of("org/tiny").path == new
    assert folder_of("org/tiny", revision="v1").path == old
    by_commit = folder_of("org/tiny", revision=OLDER)
    assert (by_commit.path, by_commit.revision) == (old, OLDER)
    assert "cannot be reached" in one_line("org/tiny", EngineError, revision="v2")


def test_half_a_download_in_the_cache_does_not_pass_for_a_model(hub_cache, copy, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (copy / "model.safetensors").unlink()
    put_in_cache(hub_cache, "org/tiny", copy, commit=COMMIT, ref="main")
    assert "cannot be reached" in one_line("org/tiny", EngineError)


def fresh(folder: Path) -> BaseFolder:
    return folder_of(folder)


def test_the_fingerprint_changes_with_content_and_with_nothing_else(copy):
    first = fresh(copy).fingerprint
    (copy / "README.md").write_text("words")
    (copy / "tokenizer").mkdir()
    os.utime(copy / "config.json", (1, 1))
    assert fresh(copy).fingerprint == first
    seen = {first}
    for name in ("config.json", "tokenizer.json", "generation_config.json"):
        value = json.loads((copy / name).read_text(encoding="utf-8"))
        (copy / name).write_text(json.dumps({**value, "extra": 1}))
        seen.add(fresh(copy).fingerprint)
    weights = load_file(copy / "model.safetensors")
    weights["lm_head.weight"][0, 0] += 1e-3
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    seen.add(fresh(copy).fingerprint)
    (copy / "modeling_own.py").write_text("x = 1\n")
    seen.add(fresh(copy).fingerprint)
    assert len(seen) == 6


def test_a_stamp_notices_a_file_that_was_written_to(copy):
    first = fresh(copy).stamp
    assert fresh(copy).stamp == first
    os.utime(copy / "model.safetensors", (1, 1))
    assert fresh(copy).stamp != first


def _truncate(copy: Path) -> None:
    file = copy / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-40])


def _drop_weights(copy: Path) -> None:
    weights = load_file(copy / "model.safetensors")
    kept = dict(list(weights.items())[:5])
    save_file(kept, copy / "model.safetensors", metadata={"format": "pt"})


def _other_kind(copy: Path) -> None:
    (copy / "config.json").write_text(json.dumps({"model_type": "t5"}))


def _no_tokenizer(copy: Path) -> None:
    for file in copy.glob("tokenizer*"):
        file.unlink()


def _half_settings(copy: Path) -> None:
    (copy / "generation_config.json").write_text("{")


@pytest.mark.parametrize(
    "damage", [_truncate, _drop_weights, _other_kind, _no_tokenizer, _half_settings]
)
def test_a_model_that_cannot_be_loaded_is_one_clear_error(copy, damage):
    damage(copy)
    with pytest.raises(EngineError, match=r"base model '.*' cannot be loaded: ") as caught:
        open_base(copy)
    assert "\n" not in str(caught.value)


def test_absent_weights_are_not_drawn_at_random(copy):
    _drop_weights(copy)
    with pytest.raises(EngineError, match=r"lack \d+ weights, such as"):
        open_base(copy)


FOREIGN = """
from pathlib import Path
Path({marker!r}).write_text("ran")
from transformers import LlamaConfig, LlamaForCausalLM
class Config(LlamaConfig):
    model_type = "foreign"
class Model(LlamaForCausalLM):
    config_class = Config
"""


@pytest.mark.parametrize("trust", [False, True])
def test_code_that_comes_with_a_model_runs_only_when_it_is_trusted(
    copy, tmp_path, monkeypatch, trust
):
    from transformers import dynamic_module_utils

    # Trusted code is copied to a cache that is then imported from.
    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "path", [*sys.path])
    marker = tmp_path / "marker"
    (copy / "foreign.py").write_text(FOREIGN.format(marker=str(marker)))
    config = json.loads((copy / "config.json").read_text(encoding="utf-8"))
    own = {"AutoConfig": "foreign.Config", "AutoModelForCausalLM": "foreign.Model"}
    changed = {**config, "model_type": "foreign", "auto_map": own}
    (copy / "config.json").write_text(json.dumps(changed))
    folder = folder_of(copy, trust_remote_code=trust)
    if trust:
        model = load_base(folder, ComputeSpec(device="cpu")).model
        assert type(model).__name__ == "Model"
    else:
        with pytest.raises(EngineError, match=r"set base\.trust_remote_code=true if you trust"):
            load_base(folder, ComputeSpec(device="cpu"))
    assert marker.exists() is trust


def test_foreign_code_beside_a_known_model_does_not_run_either(copy, tmp_path):
    marker = tmp_path / "marker"
    (copy / "foreign.py").write_text(FOREIGN.format(marker=str(marker)))
    config = json.loads((copy / "config.json").read_text(encoding="utf-8"))
    own = {"AutoConfig": "foreign.Config", "AutoModelForCausalLM": "foreign.Model"}
    (copy / "config.json").write_text(json.dumps({**config, "auto_map": own}))
    assert type(open_base(copy).model).__name__ == "LlamaForCausalLM"
    assert not marker.exists()
