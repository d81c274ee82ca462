"""What the design lists of a run, read back from a store."""

import json
from pathlib import Path

import pandas as pd
from mlflow.tracking import MlflowClient

EPOCH_METRICS = {
    "train/loss", "train/accuracy", "val/loss", "val/accuracy",
    "train/epoch_seconds", "train/throughput", "train/learning_rate",
}  # fmt: skip
FINAL_METRICS = {
    "test/loss", "test/accuracy", "test/accuracy_ci_low", "test/accuracy_ci_high",
    "test/balanced_accuracy", "test/majority_share", "test/f1_negative", "test/f1_positive",
    "test/auc", "test/brier", "test/ece", "test/throughput",
}  # fmt: skip
PARAMETERS = {
    "recipe", "vocabulary_size", "sequence_length", "embedding_size", "units", "optimizer", "learning_rate",
    "batch_size", "epochs", "validation_fraction", "mask_zero", "recurrent_initializer", "recurrent_init_scale",
    "learning_rate_schedule", "global_clipnorm",
    "embedding_weight_decay", "vocabulary_dropout", "dropout", "ema_momentum",
    "early_stopping_patience", "backend", "deterministic",
    "seed", "dataset", "dataset.digest",
    "version.python", "version.tensorflow", "version.keras", "version.mlflow", "version.prefect", "version.numpy",
    "version.numba", "version.scipy",
}  # fmt: skip
TAGS = {
    "git.commit", "git.dirty", "prefect.flow_run_id", "time.train", "time.total", "slice_reviews",
    "dataset.digest", "recipe",
    "started_by", "dataset", "epochs_trained", "mlflow.note.content",
    "processor", "threads", "mlflow.runColor", "mlflow.sentiflow.code.digest", "mlflow.sentiflow.lock.digest",
    "mlflow.sentiflow.packages.digest", "mlflow.sentiflow.scorer.digest",
}  # fmt: skip
ARTIFACTS = {
    "plots/learning_curves.png", "plots/confusion_matrix.png", "plots/roc_curve.png",
    "plots/reliability_curve.png",
    "model_summary.txt", "test_scores.parquet", "report.html", "errors.html",
    "sources.txt", "packages.txt",
}  # fmt: skip
PNG = b"\x89PNG\r\n\x1a\n"


def check_run(client: MlflowClient, run_id: str, epochs: int, test_reviews: int, folder: Path) -> None:
    """Assert that a finished run holds everything the design lists, and that its parts agree."""
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert set(run.data.params) >= PARAMETERS
    assert set(run.data.tags) >= TAGS
    assert set(run.data.metrics) >= EPOCH_METRICS | FINAL_METRICS
    for metric in EPOCH_METRICS:
        steps = [entry.step for entry in client.get_metric_history(run_id, metric)]
        assert steps[:epochs] == list(range(1, epochs + 1)), metric
        assert steps[epochs:] in ([], [epochs + 1]), metric  # of an earlier epoch that was kept, once more
    check_dataset(run, test_reviews)
    files = Path(client.download_artifacts(run_id, "", str(folder)))
    found = {str(path.relative_to(files)) for path in files.rglob("*") if path.is_file()}
    assert found >= ARTIFACTS
    for picture in files.glob("plots/*.png"):
        content = picture.read_bytes()
        assert content.startswith(PNG) and len(content) > 5_000, picture.name
    scores = pd.read_parquet(files / "test_scores.parquet")
    assert len(scores) == scores["review_id"].nunique() == test_reviews
    right = ((scores["score"] > 0.5) == (scores["label"] == 1)).mean()
    assert right == run.data.metrics["test/accuracy"]


def check_dataset(run: object, test_reviews: int) -> None:
    """Assert that the dataset panel is filled and names the digest that the tags name."""
    inputs = run.inputs.dataset_inputs  # type: ignore[attr-defined]
    by_context = {entry.tags[0].value: entry.dataset for entry in inputs}
    assert set(by_context) == {"training", "testing"}
    digest = run.data.tags["dataset.digest"]  # type: ignore[attr-defined]
    assert len(digest) == 64
    assert all(digest.startswith(dataset.digest) for dataset in by_context.values())
    assert json.loads(by_context["testing"].profile)["reviews"] == test_reviews
