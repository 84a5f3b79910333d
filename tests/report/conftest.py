"""Reports that several tests look at; each is written once."""

from __future__ import annotations

import pytest

from report.studies import texts_study
from transferlens.report import Depth, write_report


@pytest.fixture(scope="session")
def study(tmp_path_factory):
    return texts_study(tmp_path_factory.mktemp("report") / "study")


@pytest.fixture(scope="session")
def written(study, tmp_path_factory):
    return write_report(
        study, tmp_path_factory.mktemp("page") / "report.html", depth=Depth(cells=6)
    )


@pytest.fixture(scope="session")
def page(written):
    return written.page.read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def hostile(tmp_path_factory):
    made = texts_study(tmp_path_factory.mktemp("hostile") / "study", hostile=True)
    page = tmp_path_factory.mktemp("harm") / "report.html"
    return write_report(made, page, depth=Depth(cells=4, linguistic_cells=0))


@pytest.fixture(scope="session")
def compared(study, tmp_path_factory):
    """Write the report of a study beside another one."""
    other = texts_study(tmp_path_factory.mktemp("other") / "study", seed=4)
    page = tmp_path_factory.mktemp("compared") / "report.html"
    return write_report(study, page, depth=Depth(cells=2, linguistic_cells=0), other=other)
