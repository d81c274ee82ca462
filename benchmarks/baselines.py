"""Measure the baselines beside the recipe ``tuned``, and write the table in docs/recipes.md."""

import os
import subprocess
import tempfile
from datetime import UTC, datetime
from itertools import takewhile

from mlflow.tracking import MlflowClient

from benchmarks import machine, table
from sentiflow.baselines import TOP
from sentiflow.runs import BASELINES, KIND
from sentiflow.settings import project_root

BEGIN, END = "<!-- make results writes the baselines from here -->", "<!-- to here, the baselines -->"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        own = machine.own_store(folder)
        command = [machine.SENTIFLOW, "baselines"]
        subprocess.run(command, env={**os.environ, **own}, cwd=project_root(), check=True)
        reported, seconds = measured(MlflowClient(own["SENTIFLOW_TRACKING_URI"]))
    date = f"{datetime.now(UTC):%Y-%m-%d}"
    note = f"One run of each, seed 0, {seconds:.0f} s in all, on {date}. {machine.describe()}."
    table.put_into(table.RECIPES_PAGE, f"{reported}\n\n{note}", BEGIN, END)


def measured(client: MlflowClient) -> tuple[str, float]:
    """The table as the parent run tells it, and the seconds of the whole set."""
    experiments = [found.experiment_id for found in client.search_experiments()]
    (parent,) = client.search_runs(experiments, f"tags.{KIND} = '{BASELINES}'")
    lines = parent.data.tags["mlflow.note.content"].splitlines()
    rows = takewhile(lambda line: line.startswith("|"), lines[lines.index(TOP) :])
    return "\n".join(rows), float(parent.data.tags["time.total"])


if __name__ == "__main__":
    main()
