"""Importing the package costs nothing and gives everything on demand."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib.metadata import version
from importlib.resources import files

import pytest

import transferlens as tl
from transferlens.results import TransferStudy, open_study
from transferlens.study import StudySpec


def test_import_loads_the_standard_library_only():
    script = (
        "import sys\n"
        "before = set(sys.modules)\n"
        "import transferlens\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(sorted(new - set(sys.stdlib_module_names)))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "['transferlens']"


def test_public_names_are_those_of_their_homes():
    assert tl.StudySpec is StudySpec
    assert tl.TransferStudy is TransferStudy
    assert tl.open_study is open_study
    assert callable(tl.run)


def test_every_public_name_is_listed_and_exists():
    assert dir(tl) == sorted(tl.__all__)
    for name in tl.__all__:
        assert getattr(tl, name) is not None


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'opn_study'"):
        _ = tl.opn_study


def test_the_installed_version_is_the_one_that_the_package_states():
    assert version("transferlens") == tl.__version__


def test_types_are_shipped():
    assert files("transferlens").joinpath("py.typed").is_file()


def test_python_dash_m_is_the_command_line():
    command = [sys.executable, "-m", "transferlens", "--version"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout == f"transferlens {tl.__version__}\n"


def test_every_dependency_is_pinned_and_explained(request):
    root = request.config.rootpath
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    stated = {*project["dependencies"], *(line for extra in extras.values() for line in extra)}
    names = {requirement_name(line) for line in stated}
    pins = (root / "requirements" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert names <= {requirement_name(line) for line in pins if not line.startswith("#")}
    explained = (root / "docs" / "dependencies.md").read_text(encoding="utf-8").lower()
    assert {name for name in names if f"`{name}`" not in explained} == set()


def requirement_name(line):
    name = "".join(c if c.isalnum() or c in "-_." else " " for c in line).split()[0]
    return name.lower().replace("_", "-")
