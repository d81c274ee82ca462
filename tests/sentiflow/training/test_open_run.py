"""What a training says before it opens its run."""

import pytest

from sentiflow import environment
from sentiflow.errors import ExternalError
from sentiflow.training.open_run import Ready, training_run
from sentiflow.training.recipes import load_recipe
from sentiflow.training.started import Started


def test_a_training_names_what_is_ignored(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Red if a user did not learn that a variable has no effect."""
    monkeypatch.setenv("SENTIFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setattr(environment, "_removed", ["XLA_FLAGS"])
    ready = Ready(Started("night"), "sample", "1", 0.0, 0.0)
    with pytest.raises(ExternalError), training_run(ready, load_recipe("tutorial"), 4):
        pass
    assert caplog.messages[0] == "Ignored variables, which can change results: XLA_FLAGS."
