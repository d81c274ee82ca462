"""``sentiflow sweep`` whose trials sleep for ten seconds instead of training: what is left is their scheduling."""

import os
import time
from collections.abc import Callable
from unittest.mock import patch

# Prefect reads them when it is imported; the command line would set them before.
os.environ.pop("PREFECT_API_URL", None)
os.environ["PREFECT_SERVER_ALLOW_EPHEMERAL_MODE"] = "false"

from benchmarks.sweep import SECONDS
from flows.cli.main import main
from sentiflow.data.prepare import Prepared
from sentiflow.evaluation.scores import Epoch
from sentiflow.results import COMPLETE
from sentiflow.sweeps import study
from sentiflow.training.context import RunContext


def sleep(run: RunContext, _prepared: Prepared, on_epoch: Callable[[Epoch], None]) -> tuple[str, Epoch]:
    """All epochs take as long and have the same loss, so that none is pruned."""
    seconds = SECONDS / run.config.epochs
    for number in range(1, run.config.epochs + 1):
        time.sleep(seconds)
        epoch = Epoch(number, 0.7, 0.5, 0.7, 0.5, 0.001, seconds, 100)
        on_epoch(epoch)
    return COMPLETE, epoch


if __name__ == "__main__":
    with patch.object(study, "_trained", sleep):
        main()
