"""Train each recipe with five seeds, and write the table of results in docs/recipes.md: ``make results``."""

import os
import subprocess
import tempfile
import time
from datetime import UTC, datetime

from mlflow.tracking import MlflowClient

from benchmarks import machine, table
from sentiflow.settings import project_root
from sentiflow.training.recipes import RECIPES

BEGIN, END = "<!-- make results writes from here -->", "<!-- to here, the results -->"
SEEDS = 5


def main() -> None:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        own = machine.own_store(folder)
        for recipe in RECIPES:
            train(own, recipe, "--repeats", str(SEEDS))
            seconds = train(own, recipe, "--force")  # of the seeds, one is registered
            rows.append(row(MlflowClient(own["SENTIFLOW_TRACKING_URI"]), recipe, seconds))
    date = f"{datetime.now(UTC):%Y-%m-%d}"
    table.put_into(table.RECIPES_PAGE, table.render_results(rows, machine.describe(), date), BEGIN, END)


def train(own: dict[str, str], recipe: str, *options: str) -> float:
    """Seconds from the start of the process to its end, the version registered."""
    command = [machine.SENTIFLOW, "train", "--recipe", recipe, *options]
    started = time.perf_counter()
    subprocess.run(command, env={**os.environ, **own}, cwd=project_root(), check=True)
    return time.perf_counter() - started


def row(client: MlflowClient, recipe: str, seconds: float) -> table.Result:
    """What the store says of the latest set of repeats of a recipe."""
    experiments = [found.experiment_id for found in client.search_experiments()]
    (parent,) = client.search_runs(
        experiments, f"params.repeats = '{SEEDS}' and tags.recipe = '{recipe}'", max_results=1
    )
    children = client.search_runs(
        experiments, f"tags.mlflow.parentRunId = '{parent.info.run_id}'", order_by=["attributes.start_time ASC"]
    )
    return table.Result(
        recipe,
        [child.data.metrics["test/accuracy"] for child in children],
        parent.data.metrics["val/accuracy_mean"],
        parent.data.metrics["test/accuracy_mean"],
        parent.data.metrics["test/accuracy_sd"],
        seconds,
    )


if __name__ == "__main__":
    main()
