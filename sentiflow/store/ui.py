"""MLflow's pages: what they show of our runs, links to them, and the login of a running ``sentiflow ui``.

The login is random at each start, and in a file that the same user can read.
"""

import json
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlparse

from sentiflow.files import own_folder, publish_private
from sentiflow.redaction import without_login
from sentiflow.settings import Settings

LOGIN = "_SENTIFLOW_UI_LOGIN"  # variable with the login, in the environment of the server's process

_ANSWER_SECONDS = 0.5  # for a connection to an address that is mostly this machine's

USER = "sentiflow"  # any other will do, and is the name of who labels a text, where this is nobody's

# Of MLflow's table of runs, with widths in pixels: all fit into a window of 1,400.
_COLUMNS = {
    "metrics.`test/accuracy`": 105, "metrics.`val/loss`": 80, "params.`recipe`": 75, "params.`seed`": 55,
    "tags.`dataset`": 80,
}  # fmt: skip

_TRAINING = "?workflowType=machine_learning"  # else a new browser shows MLflow's pages for GenAI

# Okabe and Ito (2008): safe for colour-blind readers, visible on light and dark pages.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f")

RUN_COLOUR = "mlflow.runColor"  # tag of a run: its colour in MLflow's table and charts

VIEW = "sentiflow"  # name of the view that MLflow's page of runs opens with

_SHOWN = {"display": True, "isReordered": True, "deleted": False, "isGenerated": True}  # of a group of charts

# What MLflow's UI shows of the experiment. Without a view its table has no metrics.
UI_TAGS = {
    "mlflow.experimentKind": "custom_model_development",
    "mlflow.experiment.primaryMetric.name": "test/accuracy",
    f"mlflow.sharedViewState.{VIEW}": json.dumps(
        {
            "selectedColumns": list(_COLUMNS),
            "columnOrder": list(_COLUMNS),
            "columnWidths": _COLUMNS,
            "compareRunCharts": [],
            "compareRunSections": [
                {"uuid": f"{VIEW}-{name}", "name": name, **_SHOWN}
                for name in ("val", "test", "train", "test_slices")
            ],
            "isAccordionReordered": True,
        }
    ),
}


@contextmanager
def login_note(settings: Settings, listener: socket.socket, address: str) -> Iterator[tuple[str, Path]]:
    """Make a login, kept in a file for the block."""
    login = f"{USER}:{secrets.token_urlsafe(24)}"
    host, port, *_ = listener.getsockname()
    note = own_folder(settings.data_dir / "ui") / f"{host}:{port}.json"
    told = {"ui": address, "login": login, "store": without_login(settings.tracking_uri)}
    try:
        publish_private(note, json.dumps(told).encode())
        yield login, note
    finally:
        note.unlink(missing_ok=True)


def running_ui(settings: Settings) -> str | None:
    """Address of a `sentiflow ui` that shows this store now; one that was killed may have left its note."""
    for note in (settings.data_dir / "ui").glob("*.json"):
        with suppress(OSError, ValueError):
            told = json.loads(note.read_bytes())
            place = urlparse(told["ui"])
            if told.get("store") == without_login(settings.tracking_uri):
                socket.create_connection((place.hostname, place.port), _ANSWER_SECONDS).close()
                return str(told["ui"])
    return None


def ui_url(settings: Settings) -> str:
    """Base address of MLflow's pages, without login: the settings', the server's, else `sentiflow ui`'s."""
    base = settings.ui_url
    if "ui_url" not in settings.model_fields_set:
        base = settings.tracking_uri if settings.sqlite_file is None else running_ui(settings) or base
    return without_login(base).rstrip("/")


def runs_url(base: str, experiment: str) -> str:
    """Address of the experiment's runs in an MLflow UI, with the columns and charts of ``VIEW``."""
    return f"{base}/#/experiments/{experiment}/runs{_TRAINING}&viewStateShareKey={VIEW}"


def run_url(settings: Settings, experiment: str, run_id: str) -> str:
    return f"{ui_url(settings)}/#/experiments/{experiment}/runs/{run_id}{_TRAINING}"
