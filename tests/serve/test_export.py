"""What is exported is what peft loads, and what vLLM cannot serve is refused."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace

import pytest

import transferlens as tl
from transferlens.errors import AnalysisError, ResultsError
from transferlens.serve import export
from transferlens.serve.export import export_vllm
from transferlens.serve.skills import skills_of


def test_the_folder_holds_the_same_weights_a_card_each_and_a_command(study_folder, tmp_path):
    study = tl.open_study(study_folder)
    names = ["colours", "numbers@1"]
    found = export_vllm(
        study, tmp_path / "out", served_name="tiny", model="org/tiny", adapters=names
    )
    skills = skills_of(study)
    for name, own in zip(("colours", "numbers-s1"), names, strict=True):
        folder = tmp_path / "out" / "adapters" / name
        weights = (skills[own].folder / "adapter_model.safetensors").read_bytes()
        assert (folder / "adapter_model.safetensors").read_bytes() == weights
        config = json.loads((folder / "adapter_config.json").read_text("utf-8"))
        assert config["base_model_name_or_path"] == "org/tiny"
        assert (folder / "README.md").read_text("utf-8").startswith("---\n")
        assert sorted(path.name for path in folder.iterdir()) == [
            "README.md", "adapter_config.json", "adapter_model.safetensors"
        ]  # fmt: skip
    words = shlex.split(found.command)
    assert words[:5] == ["vllm", "serve", "org/tiny", "--served-model-name", "tiny"]
    assert words[words.index("--max-lora-rank") + 1] == "8"  # the rank is 4
    after = words[words.index("--lora-modules") + 1 :]
    assert after == ["colours=adapters/colours", "numbers-s1=adapters/numbers-s1"]
    assert found.command in (tmp_path / "out" / "serve.sh").read_text("utf-8")
    with pytest.raises(ResultsError, match="not empty"):
        export_vllm(study, tmp_path / "out", served_name="tiny")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"use_dora": True}, "DoRA"),
        ({"peft_type": "IA3"}, "method IA3"),
        ({"bias": "all"}, "trained biases"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"rank_pattern": {"q_proj": 2}}, "ranks that differ"),
        ({"r": 1_000}, "rank 1000"),
    ],
)
def test_what_vllm_cannot_serve_is_refused_in_one_line(
    study_folder, tmp_path, monkeypatch, change, word
):
    skill = skills_of(tl.open_study(study_folder))["colours"]
    own = json.loads((skill.folder / "adapter_config.json").read_text("utf-8"))
    (tmp_path / "adapter_config.json").write_text(json.dumps(own | change), encoding="utf-8")
    changed = {"colours": replace(skill, folder=tmp_path)}
    monkeypatch.setattr(export, "skills_of", lambda _: changed)
    study = tl.open_study(study_folder)
    with pytest.raises(AnalysisError, match=word) as caught:
        export_vllm(study, tmp_path / "out", served_name="tiny", adapters=["colours"])
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
