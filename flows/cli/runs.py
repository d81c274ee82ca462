"""``sentiflow runs`` and ``sentiflow reproduce``: runs, listed and trained again."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli.options import INSPECT, TRAIN, JsonOption, command
from flows.cli.tables import accuracy_text, print_json, print_table, short_moment, stdout_for, version_text
from flows.cli.train import begin
from sentiflow.console import Console, escape, working
from sentiflow.errors import RejectedError, UsageError
from sentiflow.names import model_name
from sentiflow.redaction import redact
from sentiflow.reports.page import Table
from sentiflow.runs.record import FIELDS, MONITOR, Fields, RunRecord, Value, value_text, without_seeds

if TYPE_CHECKING:
    from sentiflow.runs.query import Query
    from sentiflow.store.types import Store

app = typer.Typer()


@command(
    app,
    INSPECT,
    "sentiflow runs",
    'sentiflow runs --since 7d --filter "test/accuracy>=0.88" --sort -accuracy',
    "sentiflow runs --recipe tuned --columns units,val/loss --children",
    "sentiflow runs --kind trial --filter params.units=32 --json",
)
def runs(
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=100_000, help="Most runs; with --sort of each dataset.")
    ] = 10,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            "--kind",
            "-k",
            help="Kind: training, repeats, repeat, sweep, trial, baselines, baseline, reproduction or monitor.",
        ),
    ] = None,
    recipe: Annotated[list[str] | None, typer.Option("--recipe", "-r", help="Recipe.")] = None,
    dataset: Annotated[list[str] | None, typer.Option("--dataset", "-d", help="Dataset.")] = None,
    status: Annotated[
        list[str] | None, typer.Option("--status", help="Status: running, finished, failed or killed.")
    ] = None,
    since: Annotated[
        str, typer.Option("--since", metavar="DATE|SPAN", help="After a date (2026-03-05), or within a span (7d).")
    ] = "",
    conditions: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            "-f",
            metavar="CONDITION",
            help="NAME, a sign (= != < <= > >=, ~ for contains) and a value; repeatable, all must hold.",
        ),
    ] = None,
    sort: Annotated[
        str, typer.Option("--sort", metavar="NAME", help="Sort by NAME, or by -NAME from the highest.")
    ] = "",
    columns: Annotated[
        list[str] | None,
        typer.Option("--columns", "-c", metavar="NAMES", help="More columns, split by commas."),
    ] = None,
    all_datasets: Annotated[
        bool, typer.Option("--all-datasets", help="With --sort: rank the runs of all datasets together.")
    ] = False,
    children: Annotated[
        bool, typer.Option("--children", help="Include child runs: repeats, trials, baselines.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List runs, newest first; filter and sort them.

    NAME is one of these:

    - accuracy, seconds, name, kind, recipe, dataset, seed, status, id; started, to sort by

    - a metric (test/loss), a parameter (units) or a tag (started_by)

    - the same with metrics., params. or tags. before it, where a name is ambiguous
    """
    from sentiflow.runs.query import Query, select
    from sentiflow.settings import load_settings
    from sentiflow.store.find import open_store

    if all_datasets and not sort:
        raise UsageError("--all-datasets ranks runs, so it needs --sort.", "For example: --sort -accuracy")
    query = Query(
        kind or (), recipe or (), dataset or (), status or (), since, conditions or (), sort, children=children
    )
    store = open_store(settings := load_settings())
    now = datetime.now()  # of this machine's clock, which dates are meant by
    plain = query == Query(children=children) and not columns  # what an old run has decides nothing
    every, whole = store.newest(lambda newest: plain and _are_enough(newest, query, limit, now))
    found = select(every, query, now)
    top = found if sort else _top(found)
    grouped = not all_datasets and _is_metric(sort, every) and len({one.dataset for one in top}) > 1
    groups = _by_dataset(top) if grouped else [top]
    listed = Listed(
        [one for group in groups for one in (group[:limit] if sort else _with_below(group[:limit], found))],
        Counter(one.parent for one in every if one.parent),
        _versions(store, every),
    )
    stdout = Console()
    asked = _asked(columns or (), Fields(every)) if every else {}
    if as_json:
        print_json(stdout, listed.records())
    elif not every:
        where = f"the experiment {settings.experiment} of {redact(settings.tracking_uri)}"
        stdout.say(f"No runs in {escape(where)}. Make one: sentiflow train")
    elif not found:
        stdout.print(_none(every, query, now), markup=False, soft_wrap=True)
    else:
        print_table(listed.table(asked), stdout)
        if more := sum(max(len(group) - limit, 0) for group in groups):
            rest = f"{more:,} more: --limit {max(map(len, groups))}" if whole else f"More: --limit {10 * limit}"
            stdout.print(f"[dim]{rest}[/]")
        if grouped:
            stdout.print("[dim]Sorted within each dataset; to rank them together, add --all-datasets[/]")


@dataclass(frozen=True)
class Listed:
    """The runs to show, how many children each run has, and the registered versions by run or by its parent."""

    rows: Sequence[RunRecord]
    children: Mapping[str, int]
    versions: Mapping[str, str]

    def table(self, asked: Mapping[str, Callable[[RunRecord], Value]]) -> Table:
        """What is shown of each run, and the values that are asked for."""
        heading = ("id", "name", "dataset", "accuracy", "version", "started", *asked)
        rows = [
            (
                one.run_id[:8], name, one.dataset, accuracy_text(one), self._version(one), _start(one),
                *(_start(one) if field == "started" else value_text(get(one)) for field, get in asked.items()),
            )
            for one, name in zip(self.rows, self._names(), strict=True)
        ]  # fmt: skip
        return Table(heading, rows, words=6)

    def _names(self) -> list[str]:
        """Short names, those of children set in below their parent's."""
        short = [one.short_name for one in self.rows]
        bare = [without_seeds(name) for name in short]
        if len(short) > 1 and len({name.removeprefix(rest) for name, rest in zip(short, bare, strict=True)}) == 1:
            short = bare  # what all have distinguishes none
        names: list[str] = []
        above: list[str] = []  # the parents, each below the one before, that the next row may stand below
        for one, name in zip(self.rows, short, strict=True):
            while above and one.parent != above[-1]:
                above.pop()
            names.append(f"{'  ' * (len(above) - 1)}- {name}" if above else name)
            above.append(one.run_id)
        return names

    def _version(self, one: RunRecord) -> str:
        """The registered version (the dataset names its model), else the state of a run that has not finished."""
        if one.run_id in self.versions:
            return version_text(self.versions[one.run_id])
        return "-" if one.status == "FINISHED" else one.status.lower()

    def records(self) -> list[dict[str, Any]]:
        """Everything that is known of each run, but for its description."""
        return [
            {name: get(one) for name, get in FIELDS.items()}
            | {
                "started": one.started,
                "version": self.versions.get(one.run_id),
                "parent": one.parent,
                "children": self.children.get(one.run_id, 0),
                "metrics": dict(sorted(one.metrics.items())),
                "params": dict(sorted(one.params.items())),
                "tags": {key: one.tags[key] for key in sorted(one.tags) if key != "mlflow.note.content"},
            }
            for one in self.rows
        ]


def _versions(store: "Store", runs: Sequence[RunRecord]) -> dict[str, str]:
    """Registered versions by the id of the run that made them, and of its parent, once that has finished."""
    own = store.versions_by_run()
    finished = {one.run_id for one in runs if one.status == "FINISHED"}
    made = [one for one in reversed(runs) if one.run_id in own]  # of several below a parent the newest counts
    of_parents = {one.parent: own[one.run_id] for one in made if one.parent in finished}
    return {**of_parents, **own}


def _is_metric(sort: str, runs: Sequence[RunRecord]) -> bool:
    """Whether values to sort by can be compared only on the same reviews."""
    name = sort.removeprefix("-").removeprefix("metrics.")
    return name == "accuracy" or any(name in one.metrics for one in runs)


def _by_dataset(runs: Sequence[RunRecord]) -> list[list[RunRecord]]:
    """The runs of each dataset, in their order; the dataset of the newest run first."""
    newest_first = sorted(runs, key=lambda run: run.started, reverse=True)
    datasets = dict.fromkeys(one.dataset for one in newest_first)
    return [[one for one in runs if one.dataset == dataset] for dataset in datasets]


def _none(runs: Sequence[RunRecord], query: "Query", now: datetime) -> str:
    from sentiflow.runs.query import select

    below = 0 if query.children else len(select(runs, replace(query, children=True), now))
    if not below:
        count = f"None of {len(runs):,} runs matches" if len(runs) > 1 else "The only run does not match"
        checks = sum(run.kind == MONITOR for run in runs)
        every = f" ({checks:,} drift check{'s' * (checks > 1)}: --kind {MONITOR})" if checks else ""
        return f"{count}. All runs: sentiflow runs --children{every}"
    those = f"{below:,} runs below others do" if below > 1 else "1 run below another does"
    return f"No run at the top matches, but {those}. To list them, too, add --children"


def _are_enough(newest: Sequence[RunRecord], query: "Query", limit: int, now: datetime) -> bool:
    """Whether older runs would change nothing of what is listed.

    What stands below a run is newer than it is, but for the trials of a sweep that another one continues.
    """
    from sentiflow.runs.query import select

    ids, top = {one.run_id for one in newest}, _top(select(newest, query, now))
    orphans = [one for one in newest if one.parent and one.parent not in ids]  # theirs is older, or was deleted
    return (
        len(top) > limit
        and all(one.started < top[limit - 1].started for one in [*orphans, newest[-1]])
        and not any("continues" in one.tags for one in top[:limit])
    )


def _top(found: Sequence[RunRecord]) -> list[RunRecord]:
    """Those that are not below another one of them."""
    ids = {one.run_id for one in found}
    return [one for one in found if one.parent not in ids]


def _with_below(top: Sequence[RunRecord], found: Sequence[RunRecord]) -> list[RunRecord]:
    """Each with those below it, oldest first, and in turn those below these."""
    below: dict[str | None, list[RunRecord]] = {}
    for one in reversed(found):
        below.setdefault(one.parent, []).append(one)

    def with_below(one: RunRecord) -> list[RunRecord]:
        return [one, *(row for child in below.get(one.run_id, ()) for row in with_below(child))]

    return [row for one in top for row in with_below(one)]


def _asked(columns: Sequence[str], fields: Fields) -> dict[str, Callable[[RunRecord], Value]]:
    names = [name.strip() for text in columns for name in text.split(",") if name.strip()]
    return {name: fields.getter(name) for name in names}


def _start(one: RunRecord) -> str:
    return short_moment(one.started.astimezone())


@command(
    app,
    TRAIN,
    "sentiflow reproduce imdb-sentiment@champion",
    "sentiflow reproduce imdb-sentiment/3 --json",
    "sentiflow reproduce 1a2b3c4d",
)
def reproduce(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="Id, its beginning, name, MODEL@ALIAS or MODEL/VERSION.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Train a run again, and say whether the same comes out.

    Says what differs of its code, packages, data and machine; compares weights and scores, bit for bit.
    """
    from sentiflow.process import preload
    from sentiflow.reproduction import find_original
    from sentiflow.settings import load_settings

    settings = load_settings()
    with working("Reading the run"):
        original = find_original(run, settings)
    record = original.record
    message = f"Training again: [bold]{escape(record.name)}[/] of {record.started.astimezone():%Y-%m-%d %H:%M}"
    wait_for_server = begin(message, model_name(original.dataset), settings)
    from flows.reproduce import reproduce

    preload()
    wait_for_server()
    try:
        result = reproduce(record.run_id)
    except RejectedError as err:
        stdout_for({"identical": False, "summary": err.args[0]}, as_json=as_json)
        raise
    outcome = {"identical": True, "summary": result.summary, **vars(result)}
    stdout_for(outcome, as_json=as_json).say(f"[bold]{escape(result.summary)}[/]")
