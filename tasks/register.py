"""Put the trained model into the registry, once and whole."""

import mlflow.pyfunc
import numpy as np
from mlflow.entities import LoggedModelOutput, LoggedModelStatus
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, ErrorCode
from mlflow.tracking import MlflowClient
from prefect import get_run_logger, task

from sentiment.data import reviews
from sentiment.data.prepare import Prepared
from sentiment.errors import WorldError
from sentiment.metrics import Measured
from sentiment.reports.headline import headline
from sentiment.scoring import TextScorer, Weights
from sentiment.settings import load_settings
from serving import package
from tasks.results import Registered, RunContext, TrainedFiles
from tasks.tracking import connect, experiment_id, timed, tracking_errors


@task(name="register", task_run_name="register", persist_result=False, retries=2, retry_delay_seconds=[2, 10])
def register(run: RunContext, prepared: Prepared, trained: TrainedFiles, measured: Measured) -> Registered:
    """Pack the model, store it, load it back, and register a version of it.

    A retry takes up what an earlier attempt finished: one run never gives two versions. The version appears
    last: whatever the registry lists can be loaded.

    Written: a logged model and a registered version in MLflow; ``time/register`` on the run.
    """
    settings = load_settings()
    client = connect(settings)
    with timed(client, run.run_id, "register"), tracking_errors(settings.tracking_uri):
        version = _existing(client, run)
        if version is None:
            scorer = TextScorer(
                Weights.load(trained.weights),
                reviews.read_vocabulary(prepared.table),
                run.config.sequence_length,
            )
            model_id = _log_model(client, experiment_id(client, settings), run, prepared, scorer, trained)
            version = _create_version(client, run, prepared, measured, model_id)
    get_run_logger().info("registered %s version %s", version.name, version.version)
    return version


def _log_model(
    client: MlflowClient,
    experiment: str,
    run: RunContext,
    prepared: Prepared,
    scorer: TextScorer,
    trained: TrainedFiles,
) -> str:
    """Store the packed model; READY only once it has been loaded back and scores as it should."""
    tags = {"dataset": prepared.name, "dataset.digest": prepared.digest, "recipe": run.config.recipe}
    params = {key: str(value) for key, value in run.config.model_dump().items()}
    logged = client.create_logged_model(
        experiment, name=run.model_name, source_run_id=run.run_id, tags=tags, params=params
    )
    description = Model(
        artifact_path=logged.artifact_location,
        run_id=run.run_id,
        model_uuid=logged.model_id,
        model_id=logged.model_id,
    )
    folder = run.work / logged.model_id
    folder.mkdir()
    package.save(folder / "model", scorer, trained.keras, folder, description)
    client.log_model_artifacts(logged.model_id, str(folder / "model"))
    _check_stored(logged.model_id, scorer)
    client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)
    client.log_outputs(run.run_id, [LoggedModelOutput(logged.model_id, step=trained.kept.number)])
    return str(logged.model_id)


def _check_stored(model_id: str, scorer: TextScorer) -> None:
    texts = package.EXAMPLE["text"].tolist()
    stored = mlflow.pyfunc.load_model(f"models:/{model_id}").predict(package.EXAMPLE)
    if not np.array_equal(stored["score"].to_numpy(), scorer.score(texts)):
        raise WorldError(
            f"The stored model {model_id} does not score as the trained one.", "Nothing was registered."
        )


def _existing(client: MlflowClient, run: RunContext) -> Registered | None:
    found = client.search_model_versions(f"name = '{run.model_name}' and run_id = '{run.run_id}'")
    return Registered(run.model_name, str(found[0].version), str(found[0].model_id)) if found else None


def _create_version(
    client: MlflowClient, run: RunContext, prepared: Prepared, measured: Measured, model_id: str
) -> Registered:
    try:
        client.create_registered_model(
            run.model_name,
            description=f"Sentiment of a text, trained on {prepared.name}: `text` in, `label` and `score` out.",
        )
    except MlflowException as err:
        if err.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
            raise
    tags = {
        "dataset": prepared.name,
        "dataset.digest": prepared.digest,
        "recipe": run.config.recipe,
        "seed": str(run.seed),
        "test.accuracy": f"{measured.accuracy:.6f}",
        "test.accuracy_low": f"{measured.accuracy_low:.6f}",
        "test.accuracy_high": f"{measured.accuracy_high:.6f}",
    }
    version = client.create_model_version(
        run.model_name,
        source=f"models:/{model_id}",
        run_id=run.run_id,
        model_id=model_id,
        tags=tags,
        description=f"{headline(measured).capitalize()}: {run.name}",
    )
    return Registered(run.model_name, str(version.version), model_id)
