"""What a user reads in MLflow's own pages, in a real browser."""

import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlflow.entities import Run
from playwright.sync_api import Browser, Locator, Page, ViewportSize, expect

from flows.train import repeat
from sentiflow.results import RepeatsResult
from sentiflow.store.client import connect, experiment_id
from sentiflow.store.ui import runs_url
from sentiflow.training.recipes import load_recipe
from tests.ui import Ui, running_ui
from tests.world import Registry, World, copy_world

pytestmark = [pytest.mark.story, pytest.mark.weekly]

PATIENCE = 60_000  # milliseconds; the pages are large, and a test's machine may be busy


@dataclass(frozen=True)
class Pages:
    """A store's pages.

    Attributes:
        address: of the experiment's.
        singles: runs of one training each, oldest first; the first one's version is champion.
        repeats: a set of two seeds.
    """

    ui: Ui
    experiment: str
    singles: list[Run]
    repeats: RepeatsResult

    @property
    def root(self) -> str:
        return self.ui.root

    @property
    def address(self) -> str:
        return f"{self.root}/#/experiments/{self.experiment}/runs"


@pytest.fixture(scope="module")
def pages(browser: Browser, three_versions: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    """MLflow's server over three trainings, one of them in use, and a set of repeats."""
    world = copy_world(tmp_path_factory.mktemp("pages"), three_versions)
    with pytest.MonkeyPatch.context() as patch:
        world.enter(patch)
        client = connect(world.settings)
        experiment = experiment_id(client, world.settings)
        singles = client.search_runs([experiment], order_by=["attributes.start_time"])
        client.set_registered_model_alias("sample-sentiment", "champion", str(Registry.GOOD))
        repeats = repeat(load_recipe("tutorial", ["sequence_length=20", "epochs=1"]), "sample", 0, 2)
        with running_ui(world) as ui:
            yield Pages(ui, experiment, singles, repeats)


@pytest.fixture
def page(browser: Browser, pages: Pages) -> Iterator[Page]:
    size: ViewportSize = {"width": 1600, "height": 1400}
    context = browser.new_context(viewport=size, http_credentials=pages.ui.credentials)
    context.add_init_script("localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')")
    opened = context.new_page()
    opened.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    yield opened
    context.close()
    expect.set_options(timeout=5_000)


def cells(page: Page, run_id: str, text: str) -> Locator:
    """The part of a run's row with a text: MLflow's table has two elements a row, so that names stay in sight."""
    return page.locator(f"[row-id='{run_id}']", has_text=text)


def test_the_table_tells_runs_apart_and_holds_those_of_a_set_below_it(page: Page, pages: Pages) -> None:
    page.goto(pages.address)
    for run in pages.singles:
        expect(cells(page, run.info.run_id, run.info.run_name)).to_be_visible()
        expect(cells(page, run.info.run_id, "sample-train")).to_contain_text("sample-sentiment")
    assert len({run.info.run_name for run in pages.singles}) == 3
    parent, seed = pages.repeats.run_id, pages.repeats.seeds[1].run
    expect(cells(page, parent, pages.repeats.run_name)).to_be_visible()
    expect(cells(page, seed.run_id, seed.name)).to_have_count(0)
    cells(page, parent, pages.repeats.run_name).get_by_role("button").first.click()
    expect(cells(page, seed.run_id, seed.name)).to_be_visible()


def test_the_printed_address_opens_a_table_with_what_tells_runs_apart(page: Page, pages: Pages) -> None:
    page.set_viewport_size({"width": 1400, "height": 900})
    page.goto(runs_url(pages.root, pages.experiment))
    for name in ("test/accuracy", "val/loss", "recipe", "seed", "dataset"):
        expect(page.get_by_role("columnheader", name=name, exact=True).first).to_be_in_viewport(ratio=1)


def test_a_runs_page_tells_how_it_went_on_which_data_and_what_it_made(page: Page, pages: Pages) -> None:
    run = pages.singles[0]
    page.goto(f"{pages.address}/{run.info.run_id}")
    expect(page.get_by_role("heading", name=run.info.run_name)).to_be_visible()
    expect(page.get_by_text(f"Test accuracy {run.data.metrics['test/accuracy']:.2%}").first).to_be_visible()
    expect(page.get_by_text("sample-train").first).to_be_visible()
    expect(page.get_by_role("link", name="sample-sentiment").first).to_be_visible()
    expect(page.get_by_role("link", name="test/accuracy", exact=True)).to_be_attached()
    expect(page.get_by_role("grid").get_by_text("test/accuracy")).to_be_attached()  # of the logged model
    expect(page.get_by_text("learning_rate", exact=True)).to_be_attached()
    tags = page.locator("span").filter(has_text="kind: training")
    expect(tags.first).to_be_visible()


def test_a_versions_page_shows_its_model_card(page: Page, pages: Pages) -> None:
    page.goto(f"{pages.root}/#/models/sample-sentiment/versions/1")
    expect(page.get_by_role("heading", name="Intended use and limits")).to_be_visible()
    slices = page.get_by_role("row").filter(has=page.get_by_role("cell", name="short: the shortest quarter"))
    expect(slices.get_by_role("cell").last).to_have_text(re.compile(r"\d\d\.\d\d% to \d\d\.\d\d%"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_that_shows_them_ends_quietly_with_all_that_it_started(
    three_versions: World, tmp_path: Path, number: signal.Signals
) -> None:
    world = copy_world(tmp_path, three_versions)
    with running_ui(world, "127.0.0.2") as ui:  # an address of this machine that is none of its usual ones
        with ui.client(Origin=ui.root) as browser:
            assert [browser.get(path).status_code for path in ("/health", "/")] == [200, 200]
            found = browser.post("/ajax-api/2.0/mlflow/runs/search", json={"experiment_ids": ["1"]})
            assert found.status_code == 200
        ui.process.send_signal(number)
        assert ui.process.wait(30) == 0
        assert ui.process.stderr and "Traceback" not in ui.process.stderr.read()
        assert world.processes() == [] and not ui.note.exists()
