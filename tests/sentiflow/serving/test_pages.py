"""The pages in a real browser, without a mouse where a person would do without one."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from sentiflow.scoring import TextScorer
from tests.sentiflow.serving import service
from tests.sentiflow.serving.service import Running
from tests.world import Trained, World

pytestmark = pytest.mark.story

REVIEW = "The acting was touching, but the ending was dull and the zyzzyva wooden."


@pytest.fixture
def page(browser: Browser, served: Running) -> Iterator[Page]:
    """The page; whatever it asks of another site, and whatever its console complains of, fails the test."""
    context = browser.new_context(base_url=served.address, viewport={"width": 1000, "height": 1100})
    opened = context.new_page()
    complaints: list[str] = []
    opened.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    elsewhere: list[str] = []
    opened.on("request", lambda request: None if _is_here(request.url, served) else elsewhere.append(request.url))
    opened.goto("/")
    yield opened
    context.close()
    assert elsewhere == []
    assert [told for told in complaints if "the server responded with a status of 4" not in told] == []


def _is_here(url: str, served: Running) -> bool:
    return url.startswith((served.address, "data:"))


def send(page: Page, text: str) -> None:
    """Type and send, by the keyboard alone."""
    page.get_by_label("Review").fill(text)
    page.keyboard.press("Control+Enter")


def test_a_review_is_read_by_keyboard_alone_and_the_answer_is_the_scorers(page: Page, scorer: TextScorer) -> None:
    expect(page.get_by_label("Review")).to_be_focused()
    page.keyboard.type(REVIEW)
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Classify")).to_be_focused()
    page.keyboard.press("Enter")
    score = scorer.score([REVIEW])[0]
    expect(page.locator("#verdict")).to_have_text(f"{'positive' if score > 0.5 else 'negative'} score {score:.4f}")
    expect(page.get_by_role("button", name="Classify")).to_be_focused()  # the focus is not lost while waiting
    expect(page.locator("#model")).to_contain_text("Model: sample-sentiment v1, test accuracy")
    for _ in range(3):
        page.keyboard.press("Tab")
    expect(page.locator("summary")).to_be_focused()
    page.keyboard.press("Enter")
    read = scorer.explain(REVIEW).words
    rows = page.locator("#rows tr")
    expect(rows).to_have_count(len(read))
    for i, word in enumerate(read):
        expect(rows.nth(i).locator("th")).to_have_text(word.text)
        expect(rows.nth(i).locator("td").last).to_have_text(f"{word.score:.4f}")
    expect(rows.nth(len(read) - 2).locator("td").first).to_have_text("not read: unknown")


def test_the_page_says_that_no_word_is_known_and_which_rows_the_accuracy_is_of(page: Page) -> None:
    def skip(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(json=answer.json() | {"accuracy": 0.93, "tested_on": "76% of the rows; label 3 left out"})

    send(page, "asdf qwer")
    expect(page.locator("#why")).to_have_text("No word of it is known: the score is that of an empty text.")
    page.route("**/model", skip)
    page.reload()
    expect(page.locator("#model")).to_contain_text("test accuracy 93.0% on 76% of the rows; label 3 left out")


def test_the_page_answers_at_once_also_below_a_path_of_a_proxy(
    page: Page, served: Running, scorer: TextScorer
) -> None:
    """Red if the page opened without an answer, asked the root of its host, or named words against the label."""
    expect(page.locator("#answer")).to_be_visible()
    prefix = f"{served.address}/team/"

    def pass_on(route: Route) -> None:
        path = route.request.url.removeprefix(prefix)
        route.fulfill(response=route.fetch(url=f"{served.address}/{path}"))

    page.route(f"{prefix}**", pass_on)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(prefix)
    expect(page.locator("#answer")).to_be_visible()
    reading = scorer.explain(page.get_by_label("Review").input_value())
    side = 1 if reading.score > 0.5 else -1
    towards = [word for word in reading.words if side * word.change >= 0.005]
    expect(page.locator("#score")).to_have_text(f"score {reading.score:.4f}")
    strongest = max(towards, key=lambda word: abs(word.change)).text
    label = scorer.label_of(reading.score)
    expect(page.locator("#why")).to_contain_text(f"Moved most towards {label} by \u201c{strongest}\u201d")
    page.get_by_role("link", name="API docs").click()
    expect(page.locator(".opblock", has_text="/predict")).to_be_visible()
    assert {url for url in asked if not url.startswith((prefix, "data:"))} == set()


def test_markup_in_a_review_stays_text(page: Page) -> None:
    page.evaluate("window.hit = 0")
    send(page, '<img src=x onerror="window.hit=1"><script>window.hit=1</script> good')
    expect(page.locator("#words .word")).to_have_count(13)
    assert page.evaluate("[window.hit, document.querySelectorAll('main img, main script').length]") == [0, 0]


def test_a_service_without_a_champion_says_so_and_what_to_do(
    browser: Browser, trained: Trained, tmp_path: Path
) -> None:
    world = World(tmp_path / "world")
    world.root.mkdir()
    with service.running(world) as running:
        page = browser.new_page(base_url=running.address)
        page.goto("/")
        expect(page.locator("#model")).to_have_text("No model is in use yet")
        page.get_by_label("Text").fill(REVIEW)
        page.keyboard.press("Control+Enter")
        expect(page.get_by_role("alert")).to_contain_text("sentiflow promote")
        running.process.terminate()
        running.process.wait(20)
        page.keyboard.press("Control+Enter")
        expect(page.get_by_role("alert")).to_have_text("The service does not answer. Is it still running?")
        page.close()
