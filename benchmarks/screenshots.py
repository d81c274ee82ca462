"""Make the pictures of MLflow's pages for the documents, from the runs in the settings' store.

    python -m benchmarks.screenshots [--folder docs/images] [--dataset imdb]

It shows the latest finished trainings and sets of repeats; train a few first.
"""

import argparse
import io
import json
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from PIL import Image
from playwright.sync_api import Page

from sentiflow.names import model_name
from sentiflow.runs.query import Query, select
from sentiflow.runs.record import REPEATS, TRAINING, RunRecord
from sentiflow.settings import load_settings, project_root
from sentiflow.tracking.client import connect, experiment_id
from sentiflow.tracking.store import open_store
from tests import browsers, servers

WIDTH, HEIGHT = 1_400, 800
COLOURS = 255  # of a picture's palette: a fraction of the bytes, and hardly a difference to the eye
COLUMNS = ("attributes.`Models`", "metrics.`test/accuracy`", "metrics.`val/accuracy`", "params.`epochs`",
           "params.`seed`", "tags.`kind`")  # fmt: skip
SETTLED = 5_000  # milliseconds after which charts have stopped moving
QUIET = """localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true');
localStorage.setItem('MLflowLocalStorage-1.1-ExperimentPage-["%s"]-ReactComponentState', JSON.stringify(%s));"""


@dataclass(frozen=True)
class Shown:
    """What there is to show."""

    root: str
    experiment: str
    dataset: str
    runs: Sequence[RunRecord]

    @property
    def all_runs(self) -> str:
        return f"{self.root}/#/experiments/{self.experiment}/runs"


def table(page: Page, shown: Shown) -> None:
    page.goto(shown.all_runs)
    page.get_by_text(shown.runs[0].name).first.wait_for()


def charts(page: Page, shown: Shown) -> None:
    page.goto(f"{shown.all_runs}?compareRunsMode=CHART")
    page.get_by_placeholder("Search metric charts").fill("(train|val)/(loss|accuracy)")


def compared(page: Page, shown: Shown) -> None:
    chosen = json.dumps([run.run_id for run in shown.runs if run.kind == TRAINING][:4])
    page.goto(
        f"{shown.root}/#/compare-runs?runs={quote(chosen)}&experiments={quote(json.dumps([shown.experiment]))}"
    )
    page.get_by_text("Run details").wait_for()


def one_run(page: Page, shown: Shown) -> None:
    page.goto(f"{shown.all_runs}/{next(run for run in shown.runs if run.kind == TRAINING).run_id}")
    page.get_by_text("About this run").wait_for()


def model(page: Page, shown: Shown) -> None:
    page.goto(f"{shown.root}/#/models/{model_name(shown.dataset)}")
    page.get_by_role("link", name=re.compile("^Version ")).first.wait_for()
    page.get_by_role("button", name="Tags", expanded=True).click()  # the history's, as long as the page


PICTURES = {"runs": table, "charts": charts, "compared": compared, "run": one_run, "model": model}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.screenshots", description=__doc__)
    parser.add_argument("--folder", type=Path, default=project_root() / "docs" / "images")
    parser.add_argument("--dataset", default="imdb")
    parser.add_argument("--only", choices=PICTURES, nargs="+", default=list(PICTURES))
    chosen = parser.parse_args()
    settings = load_settings()
    experiment = experiment_id(connect(settings), settings)
    query = Query(kinds=(TRAINING, REPEATS), datasets=(chosen.dataset,), statuses=("finished",))
    runs = select(open_store(settings).runs(), query, datetime.now(UTC))
    store = ["server", "--workers", "1", "--backend-store-uri", settings.tracking_uri]
    with (
        tempfile.TemporaryDirectory() as folder,
        servers.mlflow(store, Path(folder), "/health") as address,
        browsers.chromium() as browser,
    ):
        shown = Shown(address, experiment, chosen.dataset, runs)
        for name in chosen.only:
            page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
            page.set_default_timeout(180_000)
            page.add_init_script(QUIET % (experiment, json.dumps({"selectedColumns": COLUMNS})))
            PICTURES[name](page, shown)
            page.wait_for_timeout(SETTLED)
            save(page.screenshot(), chosen.folder / f"mlflow-{name}.png")
            page.close()


def save(picture: bytes, file: Path) -> None:
    """Write a picture with a palette of few colours."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.open(io.BytesIO(picture)).convert("RGB").quantize(COLOURS).save(file, optimize=True)


if __name__ == "__main__":
    main()
