"""Reports in a real browser: by day and by night, on a telephone and on a desk."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser
from playwright.sync_api import Page as Tab

from sentiflow.reports import one_run as run
from sentiflow.reports import several_runs as comparison
from tests.sentiflow.reports.made import record, summary

pytestmark = pytest.mark.story

LONG = "seed+sequence_length=200+learning_rate=0.0005-a-dataset-with-a-long-name-seed4294967295-261125-151553"
LOOKS = [("one", "light", 400), ("one", "dark", 1100), ("several", "dark", 400), ("several", "light", 1100)]
CONTRAST = """(element) => {
    const light = (colour) => {
        const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map((c) => {
            const v = c / 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
        return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
    const ink = light(getComputedStyle(element).color);
    const paper = light(getComputedStyle(document.body).backgroundColor);
    return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05); }"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A report of one run and one of several, with names as long as they get."""
    folder = tmp_path_factory.mktemp("pages")
    found = record(LONG, params={"units": "64", "seed": "4294967295"}, tags={"recipe": LONG})
    runs = [summary(), *(summary((0.9, 0.1, 0.98, 0.7, 0.2, 0.4), of=found) for _ in range(8))]
    written = {"one": run.report(summary(of=found)), "several": comparison.report(runs)}
    for name, report in written.items():
        (folder / f"{name}.html").write_text(report.page(), encoding="utf-8")
    return {name: folder / f"{name}.html" for name in written}


@pytest.fixture(params=LOOKS, ids=lambda look: "-".join(map(str, look)))
def tab(request: pytest.FixtureRequest, browser: Browser, pages: dict[str, Path]) -> Iterator[Tab]:
    name, scheme, width = request.param
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    opened = context.new_page()
    asked: list[str] = []
    opened.on("request", lambda each: asked.append(each.url))
    opened.goto(pages[name].as_uri())
    yield opened
    context.close()
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []


def test_a_page_fits_its_window_shows_its_pictures_and_can_be_read(tab: Tab) -> None:
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    sizes = tab.evaluate("[...document.images].map((each) => [each.complete, each.naturalWidth])")
    assert sizes and all(complete and width > 0 for complete, width in sizes)
    for place in ("h1", ".lead p", "nav a", "thead th", "td", ".small, .unread"):
        shown = tab.locator(place).all()
        assert shown, place
        for found in shown[:3]:
            assert found.evaluate(CONTRAST) >= 4.5, place
    links = tab.locator("nav a").all()
    assert links
    for link in links:
        link.click()
        assert tab.locator(f"[id='{(link.get_attribute('href') or '')[1:]}']").evaluate(
            "(each) => each.getBoundingClientRect().top < innerHeight"
        )


def test_five_runs_fit_a_desk(browser: Browser, tmp_path: Path) -> None:
    changed = {"recipe": "tuned", "recipe.changes": "epochs=2, units=4"}
    params = [{"units": str(4 * number), "recurrent_initializer": "orthogonal"} for number in range(5)]
    runs = [summary(of=record(tags=changed, params=each)) for each in params]
    (tmp_path / "page.html").write_text(comparison.report(runs).page(), encoding="utf-8")
    opened = browser.new_page(viewport={"width": 1400, "height": 900})
    opened.goto((tmp_path / "page.html").as_uri())
    scrolls = "(all) => all.some((each) => each.scrollWidth > each.clientWidth)"
    assert opened.locator(".wide").evaluate_all(scrolls) is False
    opened.close()
