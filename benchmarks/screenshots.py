"""Make the pictures of MLflow's pages for the documents: train, promote, open the pages in a browser.

    python -m benchmarks.screenshots [--folder docs/images] [--dataset imdb]

It uses a fresh store, and refuses a working tree with changes: the pictures show the commit.
"""

import argparse
import io
import json
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import quote

from PIL import Image
from playwright.sync_api import Page

from benchmarks import machine
from sentiflow.names import model_name
from sentiflow.settings import load_settings, project_root
from sentiflow.store.client import connect, experiment_id
from sentiflow.store.ui import run_url, runs_url
from sentiflow.training.provenance import checkout
from tests import browsers, servers

WIDTH, HEIGHT = 1_400, 900
COLOURS = 255  # of a picture's palette: a fraction of the bytes, and hardly a difference to the eye
TRAININGS = (
    ["--recipe", "tutorial", "--set", "early_stopping_patience=3"],  # its last epoch alone is a matter of luck
    ["--recipe", "tuned", "--set", "units=16"],
    ["--recipe", "tuned"],
)
SETTLED = 6_000  # milliseconds after which charts have stopped moving
# A first visit opens MLflow's assistant; here, as for whoever has closed it, it stays closed.
CLOSED = "localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')"


def train_and_promote(dataset: str) -> None:
    """Run the trainings, and put the last one's version in use."""
    for recipe in TRAININGS:
        subprocess.run([machine.SENTIFLOW, "train", "--dataset", dataset, *recipe], check=True)
    subprocess.run([machine.SENTIFLOW, "promote", str(len(TRAININGS)), "--dataset", dataset], check=True)


def addresses(base: str, dataset: str) -> dict[str, str]:
    """Address of each page, by the name of its picture."""
    settings = load_settings()
    client = connect(settings)
    experiment = experiment_id(client, settings)
    ids = [run.info.run_id for run in client.search_runs([experiment])]  # the latest one first
    chosen = f"runs={quote(json.dumps(ids))}&experiments={quote(json.dumps([experiment]))}"
    return {
        "runs": runs_url(base, experiment),
        "charts": f"{runs_url(base, experiment)}&compareRunsMode=CHART",
        "compared": f"{base}/#/compare-runs?{chosen}",
        "run": run_url(settings.model_copy(update={"ui_url": base}), experiment, ids[0]),
        "model": f"{base}/#/models/{model_name(dataset)}",
    }


# What has to be there before the picture is taken.
READY: Mapping[str, Callable[[Page], None]] = {
    "runs": lambda page: page.get_by_role("link", name=re.compile("^tutorial")).first.wait_for(),
    "charts": lambda page: page.get_by_role("heading", name="val/loss", exact=True).wait_for(),
    "compared": lambda page: page.get_by_text("Run details").wait_for(),
    "run": lambda page: page.get_by_text("About this run").wait_for(),
    "model": lambda page: page.get_by_role("link", name=re.compile("^Version ")).first.wait_for(),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.screenshots", description=__doc__)
    parser.add_argument("--folder", type=Path, default=project_root() / "docs" / "images")
    parser.add_argument("--dataset", default="imdb")
    chosen = parser.parse_args()
    if (code := checkout()) is None or code.dirty:
        parser.error("the code is not as committed: commit it first")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SENTIFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
        train_and_promote(chosen.dataset)
        store = ["server", "--workers", "1", "--backend-store-uri", load_settings().tracking_uri]
        with servers.mlflow(store, Path(folder), "/health") as base, browsers.chromium() as browser:
            context = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT})
            context.add_init_script(CLOSED)
            for name, address in addresses(base, chosen.dataset).items():
                page = context.new_page()
                page.set_default_timeout(180_000)
                page.goto(address)
                READY[name](page)
                page.wait_for_timeout(SETTLED)
                save(page.screenshot(), chosen.folder / f"mlflow-{name}.png")
                page.close()


def save(picture: bytes, file: Path) -> None:
    """Write a picture with a palette of few colours."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.open(io.BytesIO(picture)).convert("RGB").quantize(COLOURS).save(file, optimize=True)


if __name__ == "__main__":
    main()
