"""A grid of studies is run as each of its studies alone, with one base in memory."""

from __future__ import annotations

import pytest
import yaml
from small_run import content, make_place

import transferlens as tl
from transferlens.engine import base as base_module

COMMON = {"learning_rate": 5e-3, "batch_tokens": 128, "steps": 3}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = make_place(tmp_path_factory.mktemp("grid"))
    study = yaml.safe_load((folder / "study.yaml").read_text(encoding="utf-8"))
    del study["method"]
    study["seeds"] = [0]
    study["methods"] = {
        "full": {"name": "full", **COMMON},
        "prefix": {"name": "prefix", "virtual_tokens": 4, **COMMON},
        "ia3": {"name": "ia3", **COMMON},
    }
    (folder / "grid.yaml").write_text(yaml.safe_dump(study, sort_keys=False), encoding="utf-8")
    return folder


def test_a_grid_is_its_studies_and_loads_their_base_once(place, tmp_path, monkeypatch):
    grid = tl.GridSpec.from_yaml(place / "grid.yaml")
    loaded = []
    load = base_module._loaded
    monkeypatch.setattr(base_module, "_loaded", lambda *a: loaded.append(a) or load(*a))
    studies = tl.run_grid(grid, tmp_path / "all", log="quiet")
    assert list(studies) == ["full", "prefix", "ia3"]
    assert len(loaded) == 1
    for name, spec in grid.variants.items():
        # In another order, each with a base that nothing was in before.
        tl.run(spec, tmp_path / name, log="quiet")
        rows, _ = content(tmp_path / "all" / name)
        assert rows.equals(content(tmp_path / name)[0], null_equal=True)
        files = sorted((tmp_path / name / "adapters").glob("*/*.safetensors"))
        assert len(files) == 2
        for file in files:
            other = tmp_path / "all" / file.relative_to(tmp_path)
            assert other.read_bytes() == file.read_bytes()
    tl.run_grid(grid, tmp_path / "all", log="quiet")
    assert len(loaded) == 1 + len(grid.variants)
