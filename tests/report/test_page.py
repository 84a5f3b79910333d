"""The page as a file: complete in itself, with a policy that fits, links that lead somewhere."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from urllib.parse import unquote

import numpy as np
import polars as pl
import pytest

from report.studies import HOSTILE
from transferlens.report import Depth, Lacking, summarise, write_cell_page, write_report
from transferlens.report.page import report_page
from transferlens.results import BASE, TransferStudy, open_study
from transferlens.transfer import transfer_matrix


class Outline(HTMLParser):
    """Elements with their attributes, and the text of scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.raw, self._open = [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._open = (tag, dict(attrs)) if tag in {"script", "style"} else None

    def handle_data(self, data):
        if self._open is not None:
            self.raw.append((*self._open, data))

    def handle_endtag(self, tag):
        if self._open is not None and self._open[0] == tag:
            self._open = None

    def named(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]


@pytest.fixture(scope="module")
def outline(page):
    return Outline(page)


def test_the_policy_allows_the_pages_own_scripts_and_style_and_nothing_else(outline):
    policy = next(
        m["content"]
        for m in outline.named("meta")
        if m.get("http-equiv") == "Content-Security-Policy"
    )
    rules = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["img-src"] == "data:"
    for kind, rule in (("script", "script-src"), ("style", "style-src")):
        own = [
            text
            for tag, attrs, text in outline.raw
            if tag == kind and attrs.get("type") != "application/json"
        ]
        hashes = {
            f"'sha256-{base64.b64encode(hashlib.sha256(t.encode()).digest()).decode()}'"
            for t in own
        }
        assert set(rules[rule].split()) == hashes
    assert "unsafe" not in policy


def test_nothing_is_loaded_and_no_element_has_a_style_or_a_handler_of_its_own(outline):
    for tag, attrs in outline.elements:
        assert not any(name.startswith("on") for name in attrs), (tag, attrs)
        assert "style" not in attrs
        assert "src" not in attrs
        if "href" in attrs:
            assert attrs["href"].startswith(("#", "report_data/", "data:,"))


def test_one_title_one_heading_a_language_and_landmarks(outline):
    assert outline.named("html")[0]["lang"] == "en"
    assert [len(outline.named(tag)) for tag in ("h1", "main", "nav", "footer")] == [1] * 4
    tags = [tag for tag, _ in outline.elements]
    assert tags[: tags.index("body")].count("title") == 1
    ids = [attrs["id"] for _, attrs in outline.elements if "id" in attrs]
    assert len(ids) == len(set(ids))


def test_every_link_leads_to_a_place_or_a_file(outline, written):
    ids = {attrs.get("id") for _, attrs in outline.elements}
    links = [attrs["href"] for attrs in outline.named("a")]
    assert len(links) > 20
    for link in links:
        if link.startswith("#"):
            assert link[1:] in ids
        else:
            assert (written.page.parent / link).is_file()


def test_every_drawing_has_a_name_a_text_and_a_table(page):
    figures = re.findall(r"<figure.*?</figure>", page, re.DOTALL)
    assert len(figures) > 10
    for figure in figures:
        assert re.search(r'<svg[^>]* role="img" aria-label="[^"]+', figure)
        assert re.search(r"<figcaption><strong>[^<]+</strong> \S", figure), figure[-300:]
        assert "<table>" in figure


def test_the_heat_map_has_the_numbers_of_the_matrix(outline, study):
    text = next(t for _, attrs, t in outline.raw if attrs.get("id") == "matrix-data")
    data = json.loads(text)
    frame = transfer_matrix(study).to_frame()
    gains = np.array(data["numbers"]["gain"], dtype=float)
    assert gains.ravel() == pytest.approx(100 * frame["gain"].to_numpy(), rel=1e-3)
    assert np.array(data["own"]).ravel().tolist() == frame["own"].cast(int).to_list()
    assert sorted(data["orders"]["alike"]["rows"]) == list(range(4))


def test_the_page_names_the_words_of_the_summary(page, written):
    from html import unescape

    text = re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", "", page)))
    for claim in written.summary.quick.claims:
        assert claim.text.replace("`", "") in text


def test_data_lie_beside_the_page_in_every_format(written, study):
    folder = written.page.parent / "report_data"
    cells = pl.read_parquet(folder / "cells.parquet")
    again = pl.read_csv(folder / "cells.csv")
    matrix = transfer_matrix(study).to_frame()
    assert cells["gain"].to_list() == matrix["gain"].to_list()
    assert again["gain"].to_list() == pytest.approx(matrix["gain"].to_list())
    summary = json.loads((folder / "summary.json").read_text("utf-8"))
    assert summary["quick"]["claims"][0]["text"] == written.summary.quick.claims[0].text
    table = (folder / "matrix.tex").read_text("utf-8")
    assert table.count(r"\\") == 1 + len(study.sources)
    assert {file.suffix for file in written.data} == {".parquet", ".csv", ".json", ".tex"}


def test_text_from_data_never_becomes_an_element_or_ends_one(hostile):
    page = hostile.page.read_text("utf-8")
    outline = Outline(page)
    assert len(outline.named("script")) == 3
    assert outline.named("img") == []
    assert "window.harm" in page
    assert "49" not in re.findall(r"<dd><bdi>(.*?)</bdi>", page)
    data = next(t for _, attrs, t in outline.raw if attrs.get("id") == "matrix-data")
    assert "<" not in data
    assert "\u202e" not in page


def test_a_text_of_a_megabyte_is_cut_and_says_so(hostile):
    page = hostile.page.read_text("utf-8")
    assert len(page) < 1_500_000
    assert "[600 of 1,000,000 letters]" in page


def test_the_hostile_page_shows_the_text_as_it_is(hostile):
    from html import unescape

    page = unescape(hostile.page.read_text("utf-8"))
    assert HOSTILE[0] in page
    assert "{{7*7}}" in page


def test_names_of_sources_and_targets_are_text_wherever_they_stand(tmp_path):
    rng = np.random.default_rng(0)
    # NumPy drops zeros at the end of a text, so that no study can have them in a name.
    names = [name.rstrip("\0") for name in HOSTILE[:6]]
    rows = [(s, t, float(rng.random())) for s in (BASE, *names) for t in names]
    frame = pl.DataFrame(rows, schema=["source", "target", "score"], orient="row")
    study = TransferStudy.from_scores(frame, origin={"name": HOSTILE[1]})
    # A folder's name can hold what an address cannot.
    written = write_report(study, tmp_path / "a #1?.html")
    outline = Outline(written.page.read_text("utf-8"))
    assert len(outline.named("script")) == 3
    assert outline.named("img") == []
    for tag, attrs in outline.elements:
        assert not any(name.startswith("on") for name in attrs), (tag, attrs)
    links = [a["href"] for a in outline.named("a") if not a["href"].startswith("#")]
    assert all((tmp_path / unquote(link)).is_file() for link in links)
    assert (
        HOSTILE[0]
        in json.loads(next(t for _, attrs, t in outline.raw if attrs.get("id") == "matrix-data"))[
            "sources"
        ]
    )


def test_a_page_of_one_cell_has_the_same_parts_as_the_report(study, page, tmp_path):
    from transferlens.explain import tell_story

    story = tell_story(study, "mood", "sums", rng=np.random.default_rng(0), n_resamples=199)
    text = write_cell_page(study, story, tmp_path / "deep" / "cell.html").read_text("utf-8")
    outline = Outline(text)
    assert [len(outline.named(tag)) for tag in ("h1", "main")] == [1, 1]
    drawing = re.search(r"<svg[^>]*What the gain is made of.*?</svg>", text, re.DOTALL)[0]
    assert drawing in page


def test_a_page_says_how_far_an_unfinished_study_is(study):
    text = report_page(summarise(study, Depth(cells=0)), progress="Not finished: 3 of 20 cells.")
    assert "Not finished: 3 of 20 cells." in text


def test_a_large_matrix_stays_a_small_file(monkeypatch):
    # They are a small part of the page, and most of the time.
    monkeypatch.setattr("transferlens.report.analysis._traits", lambda *_: Lacking(why="left out"))
    rng = np.random.default_rng(0)
    names = [f"task_{at}" for at in range(100)]
    rows = [(s, t, float(rng.random())) for s in (BASE, *names) for t in names]
    frame = pl.DataFrame(rows, schema=["source", "target", "score"], orient="row")
    summary = summarise(TransferStudy.from_scores(frame), Depth(cells=0))
    assert len(report_page(summary)) < 8_000_000


def test_the_page_of_a_small_study_is_below_three_megabytes(page):
    assert len(page) < 3_000_000


def test_the_same_study_gives_the_same_page(study, tmp_path):
    pages = [
        write_report(open_study(study.path), tmp_path / name / "report.html", depth=Depth(cells=2))
        for name in "ab"
    ]
    first, second = (written.page.read_bytes() for written in pages)
    assert first == second


def test_a_report_loads_neither_torch_nor_matplotlib():
    code = (
        "import sys, transferlens.report as r; "
        "assert not {'torch', 'matplotlib', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
