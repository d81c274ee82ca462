"""What Prefect's UI shows of the flows' parameters."""

from typing import Any

import pytest
from prefect import Flow

from flows.housekeeping import housekeeping
from flows.monitor import monitor
from flows.promote import promote
from flows.score import score
from flows.train import repeat, reproduce, train


@pytest.mark.parametrize(
    "flow", [train, repeat, reproduce, promote, score, housekeeping, monitor], ids=lambda flow: flow.name
)
def test_every_parameter_of_a_form_has_its_help(flow: Flow[..., Any]) -> None:
    schema = flow.parameters.model_dump()
    assert [name for name, field in schema["properties"].items() if not field.get("description")] == []
    for model in schema.get("definitions", {}).values():
        assert [name for name, field in model.get("properties", {}).items() if not field.get("description")] == []


def test_a_form_knows_bounds_and_defaults() -> None:
    schema = repeat.parameters.model_dump()
    repeats = schema["properties"]["repeats"]
    assert (repeats["minimum"], repeats["maximum"], repeats["default"]) == (2, 1_000, 5)
    assert schema["definitions"]["TrainConfig"]["properties"]["epochs"]["minimum"] == 1
