"""Text, numbers and citations as a page may show them."""

from __future__ import annotations

import math
import re
import unicodedata
from itertools import pairwise
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from transferlens.report.charts import Row, forest
from transferlens.report.cite import citations
from transferlens.report.claim import counted, listed, p_in_words, verdict_of
from transferlens.report.latex import escaped, latex_table
from transferlens.report.next_steps import examples_needed
from transferlens.report.svg import Scale, label, tag, ticks
from transferlens.report.text import shown
from transferlens.results import TransferStudy

numbers = st.floats(-1e6, 1e6).filter(lambda v: abs(v) > 1e-6 or v == 0)


@given(
    st.text(),
    st.text(alphabet="\u202a\u202b\u202d\u202e\u2066\u2067\u200f\x00\x1b\x85a", max_size=9),
)
def test_shown_text_steers_nothing_and_is_bounded(text, marks):
    out = shown(text[:9] + marks + text, most=50)
    steering = {"LRO", "RLO", "LRE", "RLE", "PDF", "LRI", "RLI", "FSI", "PDI"}
    assert steering.isdisjoint(map(unicodedata.bidirectional, out))
    assert not any(unicodedata.category(c) == "Cc" and c not in "\n\t" for c in out)
    assert len(out) <= 50 * len("⟦U+202E⟧") + len("… [50 of 1,000,000 letters]")


def test_text_that_is_cut_says_how_long_it_was():
    assert shown("x" * 1_000_000, most=10) == "xxxxxxxxxx… [10 of 1,000,000 letters]"
    assert shown("short") == "short"
    assert shown(None) == ""
    assert shown("a\u202eb\u200fc\x00") == "a⟦U+202E⟧b⟦U+200F⟧c⟦U+0000⟧"


@given(st.text(), st.text())
def test_svg_keeps_whatever_text_it_is_given_and_stays_well_formed(text, value):
    clean = "".join(c for c in text if c.isprintable())
    attribute = "".join(c for c in value if c.isprintable())
    found = ET.fromstring(str(tag("text", clean, aria_label=attribute, x=1.25)))  # noqa: S314 - ours
    assert (found.text or "") == clean
    assert found.get("aria-label") == attribute
    assert found.get("x") == "1.2"


@given(st.text(min_size=1, max_size=40), st.floats(10, 400))
def test_a_label_is_cut_to_its_room_and_keeps_the_whole_as_a_hint(text, room):
    found = ET.fromstring(str(label(0, 0, text, room=room)))  # noqa: S314 - our own drawing
    hint = found.find("title")
    whole = shown(text, most=200)
    assert (found.text if hint is None else hint.text) == whole or not whole.isprintable()
    assert len(found.text or "") <= max(int(room / 5.9), 2)


@given(st.lists(numbers, min_size=1, max_size=8))
def test_a_scale_holds_all_values_in_order_and_its_ticks_lie_on_it(values):
    scale = Scale.over(values, 10.0, 300.0)
    places = [scale(v) for v in sorted(values)]
    assert places == sorted(places)
    assert all(10.0 <= place <= 300.0 for place in places)
    assert all(scale.low <= tick <= scale.high for tick in ticks(scale))


@given(st.lists(st.floats(1e-4, 1e4), min_size=1, max_size=8))
def test_ratios_are_drawn_by_their_logarithm(values):
    scale = Scale.over(values, 0.0, 100.0, log=True)
    for a, b in pairwise(values):
        expected = 100.0 * math.log(b / a) / math.log(scale.high / scale.low)
        assert scale(b) - scale(a) == pytest.approx(expected, abs=1e-6)


def test_a_chart_of_intervals_draws_each_row_and_has_the_same_numbers_as_text():
    rows = [Row("a <b>", 2.0, 1.0, 3.0, sure=True), Row("c", -1.0, -3.0, 1.0, sure=False)]
    chart = forest(rows, title="t", words="w", measure="points")
    drawing = ET.fromstring(str(chart.svg))  # noqa: S314 - our own drawing
    space = "{http://www.w3.org/2000/svg}"
    circles = drawing.findall(f"{space}circle")
    assert [c.get("class") for c in circles] == ["dot up", "dot none"]
    assert float(circles[0].get("cx")) > float(circles[1].get("cx"))
    assert "a <b>" in [t.text for t in drawing.findall(f"{space}text")]
    assert chart.table.rows[0] == ("a <b>", "2", "1", "3", "yes")
    assert chart.table.rows[1][1] == "−1"


def test_the_word_for_the_evidence_follows_both_p_values():
    assert verdict_of(0.001, 0.01, 0.05) == "significant"
    assert verdict_of(0.02, 0.2, 0.05) == "suggestive"
    assert verdict_of(0.2, 0.5, 0.05) == "cannot tell"
    assert verdict_of(math.nan, math.nan, 0.05) == "cannot tell"


def test_counts_lists_and_p_values_read_as_english():
    assert counted(1, "task") == "1 task"
    assert counted(1200, "ability", "abilities") == "1,200 abilities"
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert listed(list("abcdefg")) == "a, b, c, d, e and 2 more"
    assert listed([]) == ""
    assert (p_in_words(0.0001), p_in_words(0.034), p_in_words(math.nan)) == (
        "p < 0.001", "p = 0.034", "not tested",
    )  # fmt: skip


@given(st.floats(0.005, 0.3), st.floats(0.005, 0.1), st.integers(50, 5000), st.floats(1e-4, 0.05))
def test_the_examples_that_are_asked_for_give_a_power_of_four_in_five(gain, error, n, threshold):
    wanted = examples_needed(gain, error, n, threshold)
    if wanted < 100:
        return  # rounding up to tens is coarse there
    new_error = error * math.sqrt(n / wanted)
    power = stats.norm.sf(stats.norm.isf(threshold / 2) - gain / new_error)
    assert 0.799 <= power <= 0.87
    assert wanted % 10 == 0


def test_no_gain_needs_endless_examples():
    assert examples_needed(0.0, 0.01, 100, 0.05) == math.inf
    assert np.isnan(examples_needed(0.1, math.nan, 100, 0.05))


def test_latex_prints_every_character_of_a_name_and_no_command():
    text = escaped(r"50% of $x_1$ & {\input{x}} #2 ~a^b")
    assert not re.search(r"(?<!\\)[%$&#_]", text.replace(r"\textbackslash{}", ""))
    assert r"\input" not in text
    table = latex_table(["", "a_b"], [["x & y", "+1.5*"], ["z", "-2.0"]], caption="c", label="l")
    body = table.split(r"\midrule")[1]
    assert body.count(r"\\") == 2
    assert [line.count(" & ") for line in body.splitlines() if line.endswith(r"\\")] == [1, 1]
    assert "$-2.0$" in body
    assert r"\toprule" in table
    assert r"\bottomrule" in table


def test_a_citation_keeps_its_fields_whatever_the_study_is_called():
    name = "evil}\n@book{x,\nAU  - nobody\nER  - 50%"
    found = citations(name, TransferStudy(sources=(), targets=()), made="2026-01-31")
    assert [line[0] for line in found.study.bibtex.splitlines()] == ["@", " ", " ", " ", "}"]
    assert re.match(r"@misc\{study_[A-Za-z0-9_]+,\n", found.study.bibtex)
    depth = 0
    for character in re.sub(r"\\[{}]", "", found.study.bibtex):
        depth += {"{": 1, "}": -1}.get(character, 0)
        assert depth >= 0
    assert depth == 0
    assert [line[:6] for line in found.study.ris.splitlines()] == [
        "TY  - ", "TI  - ", "PY  - ", "N1  - ", "ER  - ",
    ]  # fmt: skip
    assert "PY  - 2026" in found.study.ris


def test_the_method_is_cited_as_it_was_published():
    method = citations("x", TransferStudy(sources=(), targets=()), made=None).method
    assert "Latent Traits and Cross-Task Transfer" in method.bibtex
    assert method.ris.count("AU  - ") == method.endnote.count("%A ") == 6
    assert "2509.13624" in method.bibtex
