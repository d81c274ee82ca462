"""What a training says before it opens its run."""

import logging

import pytest
from prefect import flow

from sentiflow import environment
from sentiflow.errors import ExternalError
from sentiflow.training.open_run import Ready, training_run
from sentiflow.training.recipes import load_recipe


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def test_a_training_names_what_is_ignored(prefect_server: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Red if a user did not learn that a variable has no effect."""
    handler, logger = _Lines(), logging.getLogger("prefect.flow_runs")

    @flow
    def train() -> None:
        logger.addHandler(handler)  # here: Prefect sets its loggers up when the first flow runs
        with training_run(Ready("sample", "1", 0.0, 0.0), load_recipe("tutorial"), 4):
            pass

    monkeypatch.setenv("SENTIFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setattr(environment, "_removed", ["XLA_FLAGS"])
    try:
        with pytest.raises(ExternalError):
            train()
    finally:
        logger.removeHandler(handler)
    assert handler.lines[0] == "Ignored variables, which can change results: XLA_FLAGS."
