"""How long MLflow's UI takes to show its table of runs, in Chromium."""

import statistics
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Page

from sentiflow.settings import Settings
from sentiflow.tracking.client import connect, experiment_id
from tests import browsers, servers


def seconds_to_table(settings: Settings, rounds: int) -> str:
    """Seconds from opening the page to the first rows, in words: the median over rounds, each in a new context."""
    experiment = experiment_id(connect(settings), settings)
    store = ["server", "--workers", "1", "--backend-store-uri", settings.tracking_uri]
    with (
        tempfile.TemporaryDirectory() as folder,
        servers.mlflow(store, Path(folder), "/health") as address,
        browsers.chromium() as browser,
    ):
        page = f"{address}/#/experiments/{experiment}/runs"
        took = [_open(browser.new_page(), page) for _ in range(rounds)]
    return f"{statistics.median(took):.2f} s to the first rows, {max(took):.2f} s the longest"


def _open(page: Page, address: str) -> float:
    started = time.perf_counter()
    page.goto(address)
    page.get_by_text("-made0").first.wait_for(timeout=60_000)
    took = time.perf_counter() - started
    page.close()
    return took
