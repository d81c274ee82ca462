"""Put the trained model into the registry, once and whole."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path

import mlflow.artifacts
import mlflow.pyfunc
import numpy as np
from mlflow.entities import LoggedModelOutput, LoggedModelStatus, Metric
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS

from sentiflow.data.prepare import Prepared
from sentiflow.errors import ExternalError
from sentiflow.evaluation.metrics import Measured
from sentiflow.names import AUTO
from sentiflow.promotion.candidate import cost_of
from sentiflow.promotion.gate import Cost
from sentiflow.redaction import escape_markdown
from sentiflow.reports import one_run as run_report
from sentiflow.reports.blocks import join
from sentiflow.reports.summary import RunSummary
from sentiflow.results import Registered
from sentiflow.run.record import CAVEAT, DIGEST, NEUTRAL, TESTED_ON
from sentiflow.scoring import TextScorer
from sentiflow.store.http import create_model, create_version
from sentiflow.store.records import SCORER_DIGEST, VALIDATION_LOSS
from sentiflow.training import package
from sentiflow.training.context import RunContext, TrainedFiles, dataset_key, scorer_of
from sentiflow.training.provenance import TRAINING_KEY, asked_key, training_key

logger = logging.getLogger(__name__)

_DESCRIPTION = 4_800  # characters: MLflow's column of a version's description holds 5,000


def register(run: RunContext, prepared: Prepared, trained: TrainedFiles, measured: Measured) -> Registered:
    """Pack the model, store it, load it back, and register a version of it.

    It is not retried: one run never gives two versions. Of repeats and sweeps that run again, such as after a
    kill, an equal version stays the only one. The version appears last: whatever the registry lists can be loaded.
    """
    with run.timed("register"), run.errors():
        scorer = scorer_of(run, prepared, trained)
        identity = {SCORER_DIGEST: scorer.digest}
        if run.build is None:  # else another function may have the same name
            asked = run.start.asked if run.start.asked == AUTO else run.start.name  # an alias may have moved
            start = asked_key(asked, run.dataset, run.settings)
            identity[TRAINING_KEY] = training_key(run.config, prepared.digest, run.seed, start)
        found = _equal(run, identity)
        if found is None:
            card = run_report.card(RunSummary(run.record(), {}))
            model_id = _log_model(run, prepared, scorer, trained, card)
            found = _create_version(run, prepared, trained, measured, model_id, identity, card)
        if found.run_id == run.run_id:  # for MLflow's list of models; an equal one is in it
            known = json.dumps([{"name": run.model_name, "version": str(found.version)}])
            model_id = str(found.source).removeprefix("models:/")
            run.client.set_logged_model_tags(model_id, {MLFLOW_MODEL_VERSIONS: known})
    version = Registered(run.model_name, int(found.version))
    logger.info("registered %s version %s", version.name, version.version)
    return version


def _equal(run: RunContext, identity: dict[str, str]) -> ModelVersion | None:
    """Find the newest version of the same training, for repeats and sweeps; a single one has looked before."""
    if run.parent is None:
        return None
    equal = " and ".join(f"tags.`{key}` = '{value}'" for key, value in identity.items())
    found = run.client.search_model_versions(f"name = '{run.model_name}' and {equal}", max_results=1)
    return found[0] if found else None


def _log_model(
    run: RunContext, prepared: Prepared, scorer: TextScorer, trained: TrainedFiles, card: Sequence[str]
) -> str:
    """Store the packed model; READY only once it has been loaded back and scores as it should."""
    client, tags = run.client, _tags(run, prepared)
    params = {key: str(value) for key, value in run.fields().items()}
    logged = create_model(client, run.experiment, run.model_name, run.run_id, tags, params)
    model_id = str(logged.model_id)
    description = Model(logged.artifact_location, run.run_id, model_uuid=model_id, model_id=model_id)
    folder = run.work / model_id
    folder.mkdir()
    whole = "\n\n".join([f"# {escape_markdown(run.model_name)}", *card])
    package.save(folder / "model", scorer, trained.keras, folder, description, f"{whole}\n")
    client.log_model_artifacts(model_id, str(folder / "model"))
    cost = cost_of(folder / "model", scorer)  # before it is loaded, which leaves compiled code there
    _check_stored(model_id, folder / "model", run.work / f"{model_id}-stored", scorer)
    _log_figures(run, prepared, model_id, cost)
    client.finalize_logged_model(model_id, LoggedModelStatus.READY)
    client.log_outputs(run.run_id, [LoggedModelOutput(model_id, step=trained.kept.number)])
    return model_id


def _log_figures(run: RunContext, prepared: Prepared, model_id: str, cost: Cost) -> None:
    """Log the run's figures for the model, too, each with its dataset; MLflow lists and sorts models by these."""
    run.log({"test/latency_ms": cost.latency_ms, "test/size_mb": cost.size_mb})
    datasets = {"test": dataset_key(prepared, "test"), "val": dataset_key(prepared, "train")}
    logged = run.client.get_run(run.run_id).data.to_proto().metrics
    # With the times of the run's own: a second point of the same time is none.
    run.write(
        metrics=[
            Metric(each.key, each.value, each.timestamp, each.step, model_id, *datasets[group])
            for each in logged
            if (group := each.key.partition("/")[0]) in datasets
        ]
    )


def _check_stored(model_id: str, packed: Path, copy: Path, scorer: TextScorer) -> None:
    """Raise ExternalError unless the store holds the packed model, and this scores as it should.

    What was packed here is loaded, never the store's copy: anyone who can write to the store could have put other
    code there. The two are compared instead, byte by byte.
    """
    right = package.contents(packed)  # before it is loaded: Python may write __pycache__ then
    copy.mkdir()
    stored = Path(mlflow.artifacts.download_artifacts(f"models:/{model_id}", dst_path=str(copy)))
    scores = mlflow.pyfunc.load_model(str(packed)).predict(package.EXAMPLE)["score"].to_numpy()
    other = {name for name, _ in package.contents(stored).items() ^ right.items()}
    if other or not np.array_equal(scores, scorer.score(package.EXAMPLE["text"].tolist())):
        what = ", ".join(sorted(other)) or "its scores"
        hint = "Nothing was registered. Check the disk, or the MLflow server, and train again."
        raise ExternalError(f"The stored model {model_id} is not the trained one: {what}.", hint)


def _tags(run: RunContext, prepared: Prepared) -> dict[str, str]:
    named = {"dataset": prepared.name, DIGEST: prepared.digest, "recipe": run.config.recipe}
    return named | run.start.tags()


def _about(model: str, dataset: str) -> str:
    return f"""Sentiment of a text, trained on {dataset}.

- in: a list or Series of texts, or a DataFrame or dict with `text`
- out: `score`, the probability of the label that means 1, and `label`: that one above 0.5, else the other; a
  version's card names both
- in use: the version with the alias `champion`; a version's description has its test accuracy
- load it: `mlflow.pyfunc.load_model("models:/{model}@champion")`; the Keras network: `mlflow.keras.load_model`
- who promoted what, and why: `sentiflow versions --history --dataset {dataset}`
- put another in use: `sentiflow promote --dataset {dataset}`, which checks it first. MLflow's own button *Promote
  model* copies a version to another model; it checks nothing and puts nothing in use
"""


def _create_version(
    run: RunContext,
    prepared: Prepared,
    trained: TrainedFiles,
    measured: Measured,
    model_id: str,
    identity: dict[str, str],
    card: Sequence[str],
) -> ModelVersion:
    try:
        about = _about(run.model_name, prepared.name)
        run.client.create_registered_model(run.model_name, description=about)
    except MlflowException:  # it is there already, perhaps by this very request, whose answer did not come
        if not run.client.search_registered_models(f"name = '{run.model_name}'"):
            raise
    metrics = {name: getattr(measured, name) for name in ("accuracy", "accuracy_ci_low", "accuracy_ci_high")}
    tags = _tags(run, prepared) | {"seed": str(run.seed)}
    tags |= {f"test.{name}": f"{value}" for name, value in metrics.items()}
    tags[VALIDATION_LOSS] = f"{trained.kept.val_loss:.6f}"
    told = (CAVEAT, TESTED_ON, NEUTRAL)
    tags |= identity | {name: text for name, text in run.record().tags.items() if name in told}
    description = join(card, _DESCRIPTION, f"More is in {package.CARD}, among the files of the model.")
    return create_version(run.client, run.model_name, run.run_id, model_id, tags, description)
