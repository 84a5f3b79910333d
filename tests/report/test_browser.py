"""The page in a real browser, as a person uses it: mouse, keyboard, phone, and a hostile study."""

from __future__ import annotations

import shutil

import pytest

from report.studies import HOSTILE

playwright = pytest.importorskip(
    "playwright.sync_api", reason="no playwright: pip install transferlens[test]"
)
axe = pytest.importorskip("axe_playwright_python.sync_playwright")

_NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def browser():
    program = next(filter(None, map(shutil.which, _NAMES)), None)
    if program is None:
        pytest.skip("no Chromium on this machine: `make browser` installs it where it can")
    with playwright.sync_playwright() as engine:
        opened = engine.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield opened
        opened.close()


class Visit:
    """A page that is open, with what it asked of the network and what it complained of."""

    def __init__(self, browser, file, **options):
        self.context = browser.new_context(
            **{"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce", **options}
        )
        self.page = self.context.new_page()
        self.requests, self.complaints = [], []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(file.as_uri())

    def pixels(self):
        return self.page.evaluate("document.getElementById('hm-canvas').toDataURL()")


@pytest.fixture(scope="module")
def visit(browser, written):
    found = Visit(browser, written.page)
    yield found
    found.context.close()


@pytest.fixture
def page(visit):
    visit.page.goto(visit.page.url.split("#")[0])
    return visit.page


def cell_middle(page, row, column):
    """Return the place of a cell in the window; the heat map is scrolled there."""
    page.locator("#hm-canvas").scroll_into_view_if_needed()
    box = page.locator("#hm-canvas").bounding_box()
    # The drawing keeps its sizes to itself: the last column ends where the names end, so cells
    # are found by the colour under them only. Their texts are what a person reads.
    for y in range(int(box["y"]) + 40, int(box["y"] + box["height"]), 14):
        for x in range(int(box["x"]) + 60, int(box["x"] + box["width"]), 30):
            page.mouse.move(x, y)
            tip = page.locator("#hm-tip")
            if tip.is_visible() and tip.inner_text().startswith(f"{row} → {column}"):
                return x, y
    pytest.fail(f"no cell {row} → {column} under the mouse")
    return None


def test_it_opens_from_disk_without_network_and_without_complaints(visit):
    assert all(url.startswith(("file:", "data:")) for url in visit.requests)
    assert len([url for url in visit.requests if url.startswith("file:")]) == 1
    assert visit.complaints == []


def test_pointing_at_a_cell_shows_its_evidence_and_clicking_opens_it(page):
    place = cell_middle(page, "mood", "sums")
    text = page.locator("#hm-tip").inner_text()
    assert "gain +" in text
    assert "significant, adjusted p" in text
    page.mouse.click(*place)
    dialog = page.locator("#hm-dialog")
    assert dialog.is_visible()
    assert dialog.locator("h3").inner_text() == "mood → sums"
    assert "significant: p" in dialog.inner_text()
    dialog.get_by_role("link").click()
    assert not dialog.is_visible()
    story = page.locator("details.story", has_text="mood → sums").first
    assert story.get_attribute("open") is not None
    assert page.url.endswith(f"#{story.get_attribute('id')}")
    assert "Is this sums number" in story.inner_text() or story.locator("details").count() > 3


def test_the_heat_map_is_led_by_the_keyboard_alone(page):
    page.select_option("#hm-order", "given")
    page.focus("#hm")
    live = page.locator("#hm-live")
    assert live.inner_text().startswith("sums → sums (own task)")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert live.inner_text().startswith("mood → words")
    page.keyboard.press("End")
    assert live.inner_text().startswith("mood → topic")
    page.keyboard.press("Home")
    assert live.inner_text().startswith("mood → sums")
    page.keyboard.press("ArrowLeft")
    assert live.inner_text().startswith("mood → sums")
    page.keyboard.press("Enter")
    assert page.locator("#hm-dialog").is_visible()
    assert page.evaluate("document.activeElement.id") == "hm-dialog-close"
    page.keyboard.press("Escape")
    assert not page.locator("#hm-dialog").is_visible()
    assert page.evaluate("document.activeElement.id") == "hm"


def test_other_values_and_orders_draw_another_picture(visit, page):
    seen = {visit.pixels()}
    for value in ("normalized_gain", "score", "p", "gain"):
        page.select_option("#hm-value", value)
        seen.add(visit.pixels())
    assert len(seen) == 4
    page.select_option("#hm-order", "given")
    given = visit.pixels()
    page.select_option("#hm-order", "family")
    assert page.evaluate("document.getElementById('hm-order').value") == "family"
    assert given in seen or visit.pixels()


def test_every_link_brings_its_place_into_view(page):
    links = page.evaluate(
        "[...new Set([...document.querySelectorAll('a[href^=\"#\"]')].map(a => a.hash))]"
    )
    assert len(links) > 10
    for link in links:
        page.evaluate(f"location.hash = {link!r}")
        page.wait_for_timeout(20)
        assert page.locator(link).is_visible(), link


def test_examples_can_be_read(page):
    story = page.locator("details.story", has_text="mood → sums").first
    if story.get_attribute("open") is None:
        story.locator("summary").first.click()
    story.get_by_text("Gained:", exact=False).click()
    assert "Is this sums number" in story.inner_text()


@pytest.mark.parametrize(
    ("of", "scheme", "size"),
    [
        ("written", "light", (1280, 900)),
        ("written", "dark", (390, 844)),
        ("compared", "dark", (390, 844)),
    ],
    ids=["desktop", "phone", "comparison"],
)
def test_no_serious_barrier_and_no_sideways_scrolling(browser, request, of, scheme, size):
    file = request.getfixturevalue(of).page
    visit = Visit(
        browser, file, color_scheme=scheme, viewport={"width": size[0], "height": size[1]}
    )
    # What is closed cannot be judged.
    visit.page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    found = axe.Axe().run(visit.page).response["violations"]
    serious = [
        (v["id"], v["nodes"][0]["html"]) for v in found if v["impact"] in {"serious", "critical"}
    ]
    assert serious == []
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= size[0]
    visit.context.close()


def test_the_heat_map_is_drawn_anew_for_a_dark_page(browser, written):
    pictures = []
    for scheme in ("light", "dark"):
        visit = Visit(browser, written.page, color_scheme=scheme)
        pictures.append(visit.pixels())
        visit.context.close()
    assert pictures[0] != pictures[1]


def test_without_scripts_the_table_says_what_the_heat_map_would(browser, written):
    visit = Visit(browser, written.page, java_script_enabled=False)
    visit.page.get_by_text("The matrix as a table").click()
    assert visit.page.locator("table.matrix").is_visible()
    assert visit.page.get_by_text("Without scripts the heat map cannot be drawn").is_visible()
    visit.context.close()


def test_print_shows_the_stories_and_no_navigation(browser, written):
    visit = Visit(browser, written.page)
    visit.page.emulate_media(media="print")
    assert not visit.page.locator("nav").is_visible()
    assert not visit.page.locator(".controls").is_visible()
    assert len(visit.page.pdf()) > 10_000
    visit.context.close()


def test_text_that_is_code_stays_text_in_the_browser(browser, hostile):
    visit = Visit(browser, hostile.page)
    visit.page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    visit.page.mouse.move(600, 400)
    assert visit.page.evaluate("typeof window.harm") == "undefined"
    assert visit.complaints == []
    assert visit.page.locator("h1").inner_text() == HOSTILE[0]
    text = visit.page.locator("body").inner_text()
    assert "{{7*7}}" in text
    assert HOSTILE[2] in text
    assert "⟦U+202E⟧" in text
    assert "[600 of 1,000,000 letters]" in text
    assert visit.page.locator("main script, main img, main style").count() == 0
    visit.context.close()
