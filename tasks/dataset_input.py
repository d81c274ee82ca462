"""The dataset of a run, as MLflow's dataset panel shows it."""

import json

import pyarrow.parquet as pq
from mlflow.entities import Dataset, DatasetInput, InputTag, Param, RunTag
from mlflow.tracking import MlflowClient
from mlflow.types import ColSpec, Schema
from mlflow.types.schema import Array, DataType

from sentiment.data.prepare import Prepared, Source

_DIGEST_LENGTH = 36  # MLflow's column holds no more; the whole digest stands in the run's tags

_SCHEMA = Schema(
    [
        ColSpec("string", "review_id"),
        ColSpec("string", "split"),
        ColSpec("integer", "label"),
        ColSpec(Array(DataType.integer), "token_ids"),
        ColSpec("integer", "n_tokens"),
    ]
)


def log_dataset(client: MlflowClient, run_id: str, source: Source, prepared: Prepared) -> None:
    """Say on a run which dataset it uses: digest, and both splits as inputs."""
    client.log_batch(
        run_id,
        params=[Param("dataset.digest", prepared.digest)],
        tags=[RunTag("dataset.digest", prepared.digest)],
    )
    client.log_inputs(run_id, datasets=_inputs(source, prepared))


def _inputs(source: Source, prepared: Prepared) -> list[DatasetInput]:
    """The training and the test split of a prepared dataset, each as an input of the run."""
    table = pq.read_table(prepared.table, columns=["split", "label"]).to_pandas()
    contexts = {"train": "training", "validation": "validation", "test": "testing"}
    inputs = []
    for split, context in contexts.items():  # in this order: MLflow's table names the first of a run
        labels = table.loc[table["split"] == split, "label"]
        if labels.empty:
            continue
        profile = {"split": split, "reviews": len(labels), "positive": int(labels.sum())}
        dataset = Dataset(
            name=f"{prepared.name}-{split}",
            digest=prepared.digest[:_DIGEST_LENGTH],
            source_type="local",
            source=json.dumps({"uri": prepared.table.as_uri(), "origin": source.origin}),
            schema=json.dumps({"mlflow_colspec": _SCHEMA.to_dict()}),
            profile=json.dumps(profile),
        )
        inputs.append(DatasetInput(dataset, [InputTag("mlflow.data.context", context)]))
    return inputs
