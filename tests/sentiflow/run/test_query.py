import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from sentiflow.errors import UsageError
from sentiflow.run.record import Query, RunRecord, moment, select

NOW = datetime(2026, 3, 5, 12, tzinfo=UTC)


def run(name: str, days_ago: float, kind: str, **given: object) -> RunRecord:
    tags = {
        "kind": kind,
        "recipe": str(given.get("recipe", "tutorial")),
        "dataset": str(given.get("dataset", "imdb")),
    }
    if "parent" in given:
        tags["mlflow.parentRunId"] = str(given["parent"])
    return RunRecord(
        name * 32, name, str(given.get("status", "FINISHED")), NOW - timedelta(days=days_ago), {},
        given.get("metrics", {}), tags, "",
    )  # fmt: skip


RUNS = [
    run("f", 0.5, "monitor"),
    run("e", 1, "training", recipe="tuned", metrics={"test/accuracy": 0.88, "test/loss": float("nan")}),
    run("d", 2, "repeat", parent="b" * 32, metrics={"test/accuracy": 0.84}),
    run("c", 3, "repeat", parent="b" * 32, metrics={"test/accuracy": 0.86}),
    run("b", 4, "repeats", metrics={"test/accuracy_mean": 0.85}),
    run("a", 9, "training", dataset="my-reviews", status="FAILED"),
]


def names(**asked: object) -> str:
    return "".join(found.name for found in select(RUNS, Query(**asked), NOW))


def test_a_dataset_is_found_by_the_name_that_another_tool_gave_it() -> None:
    runs = [run("x", 1, "training", dataset="My Data"), run("y", 1, "training", dataset="my-reviews")]
    assert [found.name for found in select(runs, Query(datasets=["My Data"]), NOW)] == ["x"]
    assert [found.name for found in select(runs, Query(datasets=["My Reviews.csv"]), NOW)] == ["y"]


def test_by_default_top_runs_but_monitors_in_the_order_given() -> None:
    assert names() == "eba"


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"children": True}, "edcba"),
        ({"kinds": ["monitor"]}, "f"),
        ({"kinds": ["repeat"]}, "dc"),  # a kind that only children have needs no --children
        ({"kinds": ["training", "repeats"]}, "eba"),
        ({"kinds": ["repeats"], "children": True}, "dcb"),  # with what is below them, whatever its kind
        ({"recipes": ["tuned"]}, "e"),
        ({"datasets": ["My reviews.csv"]}, "a"),
        ({"statuses": ["failed"]}, "a"),
        ({"since": "4d"}, "eb"),
        ({"since": "2026-03-02", "children": True}, "edc"),
        ({"since": "2026-03-04T12:00+00:00"}, "e"),
        ({"sort": "accuracy", "children": True}, "dbcea"),
        ({"sort": "-accuracy", "children": True}, "ecbda"),
        ({"sort": "started"}, "abe"),
        ({"sort": "name", "kinds": ["repeat", "training"]}, "acde"),
        ({"sort": "-test/accuracy", "children": True}, "ecdba"),  # those without come last
        ({"sort": "test/loss"}, "eba"),
    ],
)  # fmt: skip
def test_runs_asked_for(asked: dict[str, object], found: str) -> None:
    assert names(**asked) == found


def test_without_any_run_no_name_is_wrong() -> None:
    assert select([], Query(sort="-test/loss"), NOW) == []


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"since": "yesterday"}, "--since 'yesterday'"),
        ({"since": "999999w"}, "--since '999999w'"),
        ({"sort": "loss"}, "'loss'"),
    ],
)
def test_what_cannot_be_asked_is_told(asked: dict[str, object], told: str) -> None:
    with pytest.raises(UsageError) as caught:
        names(**asked)
    assert told in str(caught.value.args[0])


def test_a_run_whose_parent_is_gone_stands_at_the_top() -> None:
    orphan = run("o", 1, "repeat", parent="9" * 32)
    assert select([orphan], Query(), NOW) == [orphan]


@pytest.fixture
def in_berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Clocks an hour ahead of UTC in winter, two in summer; in 2026 they change on 29 March."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2026-03-01", datetime(2026, 2, 28, 23, tzinfo=UTC)),
        ("2026-04-01", datetime(2026, 3, 31, 22, tzinfo=UTC)),
        ("2026-03-29T12:00", datetime(2026, 3, 29, 10, tzinfo=UTC)),
        ("2026-03-01T00:00+00:00", datetime(2026, 3, 1, tzinfo=UTC)),
        ("36h", datetime(2026, 3, 28, 22, tzinfo=UTC)),  # 36 hours on any watch, whatever the clocks on walls show
    ],
)
def test_on_this_machines_clock_a_date_has_the_hour_of_its_own_season(
    in_berlin: None, text: str, meant: datetime
) -> None:
    assert moment(text, datetime(2026, 3, 30, 12)) == meant


def test_a_date_is_meant_where_the_user_is() -> None:
    there = NOW.astimezone(tz=datetime.strptime("+0900", "%z").tzinfo)
    assert moment("2026-03-05", there) == datetime(2026, 3, 4, 15, tzinfo=UTC)
    assert moment("90m", NOW) == NOW - timedelta(minutes=90)
