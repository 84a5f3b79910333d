"""The documentation runs: every command and program in it, in order, as a reader would type it.

Commands are real but small: limits and steps are cut so that a page takes seconds. A block that
follows ``<!-- file: NAME -->`` is saved under that name first.
"""

from __future__ import annotations

import os
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from transferlens.study import GridSpec, StudySpec
from transferlens.study.spec import _field_names
from transferlens.tasks import known_tasks

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    "README.md",
    "docs/quickstart.md",
    "docs/own-data.md",
    "docs/lm-eval-tasks.md",
    "docs/reading-the-matrix.md",
    "docs/importing.md",
    "docs/traits.md",
    "docs/hidden-factors.md",
    "docs/why-did-it-transfer.md",
    "docs/twins.md",
    "docs/choosing-what-to-train-on.md",
    "docs/completing-a-matrix.md",
    "docs/report.md",
    "docs/comparing-studies.md",
    "docs/methods.md",
    "docs/when-something-dies.md",
    "docs/running-on-a-cluster.md",
    "docs/adapters-as-tools.md",
]
TINY = ["limits.train=8", "limits.test=4"]

_BLOCK = re.compile(r"(?:<!-- file: (\S+) -->\n)?```(\w+)\n(.*?)```", re.DOTALL)


class Block(NamedTuple):
    file: str
    language: str
    text: str


def blocks(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    return [Block(*match) for match in _BLOCK.findall(text)]


def commands(block):
    return [line[2:] for line in block.text.splitlines() if line.startswith("$ ")]


def run(command, folder):
    """Run one command of a page; what cannot be run inside a test is checked as far as it can."""
    words = shlex.split(command)
    if words[0] == "make":
        # The real thing would run this very test.
        words, folder = ["make", "--dry-run", *words[1:]], ROOT
    elif words[:2] == ["pip", "install"]:
        assert words[2:] == ["-e", ".[train]"]
        return
    elif words[:2] == ["transferlens", "run"]:
        words += [*TINY, *one_step(folder / words[2])]
    env = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    result = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{command}\n{result.stdout}{result.stderr}"


def one_step(file):
    """Return the overrides that cut the training of a study, or of each method of a grid."""
    methods = yaml.safe_load(file.read_text(encoding="utf-8")).get("methods")
    return [f"methods.{name}.steps=1" for name in methods] if methods else ["method.steps=1"]


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_every_command_and_program_of_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    seen = 0
    for block in blocks(page):
        if block.file:
            (tmp_path / block.file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / block.file).write_text(block.text, encoding="utf-8")
        if block.language == "console":
            for command in commands(block):
                run(command, tmp_path)
                seen += 1
        if block.language == "python":
            if (tmp_path / "study.yaml").exists():
                shrink(tmp_path / "study.yaml")
            (tmp_path / "program.py").write_text(block.text, encoding="utf-8")
            subprocess.run([sys.executable, "program.py"], check=True, capture_output=True)
            seen += 1
    assert seen > 2


def shrink(file):
    value = yaml.safe_load(file.read_text(encoding="utf-8"))
    value["limits"] = {"train": 8, "test": 4}
    value["method"]["steps"] = 1
    file.write_text(yaml.safe_dump(value), encoding="utf-8")


@pytest.mark.parametrize("page", PAGES)
def test_every_study_of_a_page_is_valid_and_names_tasks_that_exist(page):
    for block in blocks(page):
        if block.language == "yaml" and "sources:" in block.text:
            value = yaml.safe_load(block.text)
            several = {"bases", "methods"} & value.keys()
            specs = (
                GridSpec.from_dict(value).variants.values()
                if several
                else [StudySpec.from_dict(value)]
            )
            for spec in specs:
                named = {ref.task for ref in (*spec.sources, *spec.targets)}
                assert named <= {*spec.tasks, *known_tasks()}


def test_the_example_of_the_paper_has_its_sources_and_targets_and_stands_in_the_readme():
    file = ROOT / "examples" / "llama32-paper.yaml"
    spec = StudySpec.from_yaml(file)
    assert spec.base.model == "meta-llama/Llama-3.2-3B"
    assert len(spec.sources) + 1 == len(spec.targets) == 10
    assert [(twin.source, twin.kind) for twin in spec.controls] == [
        ("flipkart", "balanced"),
        ("amazon", "mislabelled"),
    ]
    assert file.read_text(encoding="utf-8") in [block.text for block in blocks("README.md")]


def test_the_example_of_twins_stands_in_its_page():
    text = (ROOT / "examples" / "twins.yaml").read_text(encoding="utf-8")
    assert text in [block.text for block in blocks("docs/twins.md")]


def test_links_lead_to_files_that_exist():
    others = ["scale.md", "study-file.md", "dependencies.md", "design/layers.md"]
    for page in [*PAGES, *(f"docs/{name}" for name in others)]:
        text = (ROOT / page).read_text(encoding="utf-8")
        for link in re.findall(r"\]\(([^)#]+)\)", text):
            if not link.startswith("https://"):
                assert ((ROOT / page).parent / link).exists(), f"{page}: {link}"


def test_the_page_of_commands_is_what_the_commands_say(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    write = runpy.run_path(str(ROOT / "scripts" / "write_cli_docs.py"))
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == write["cli_docs"]()


def test_every_command_is_in_the_readme():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    listed = re.findall(
        r"^## transferlens (\S+)$", (ROOT / "docs/cli.md").read_text("utf-8"), re.MULTILINE
    )
    assert [name for name in listed if f"| `transferlens {name}` |" not in readme] == []


def test_every_field_of_the_study_file_is_documented():
    page = (ROOT / "docs" / "study-file.md").read_text(encoding="utf-8")
    words = set(re.findall(r"`(?:\w+\.)?(\w+)`", page))
    assert _field_names() - words == set()
