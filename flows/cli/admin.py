"""``sentiflow housekeeping``, ``monitor``, ``label``, a sample of logged texts for people to label, and ``ui``."""

import os
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlparse

import typer

from flows.cli.options import INSPECT, OPERATE, JsonOption, WhoseOption, command, file_option
from flows.cli.output import print_table, shown_login, stdout_for, to_open
from flows.cli.train import start_servers
from sentiflow import environment, signals
from sentiflow.console import CONSOLE, escape, progress_bar
from sentiflow.errors import ExternalError, UsageError
from sentiflow.names import dataset_of

if TYPE_CHECKING:
    from sentiflow.settings import Settings

_MOST_PEOPLE = 10  # of a queue, as MLflow has it
_START_SECONDS = 90  # of MLflow's UI
_AGAIN = "See the lines above, or try another port: sentiflow ui --port 5001"

app = typer.Typer()


@command(app, OPERATE, "sentiflow housekeeping", "SENTIFLOW_KEEP_RUNS_DAYS=90 sentiflow housekeeping")
def housekeeping(as_json: JsonOption = False) -> None:
    """Close the runs of killed processes; delete old files."""
    from sentiflow.settings import load_settings

    wait_for_server = start_servers(load_settings())
    from flows.housekeeping import housekeeping

    wait_for_server()
    report = housekeeping()
    stdout = stdout_for(report, as_json=as_json)
    stdout.say(*map(escape, report.lines()))


@command(app, OPERATE, "sentiflow monitor", "sentiflow monitor --dataset sample")
def monitor(dataset: WhoseOption = None, as_json: JsonOption = False) -> None:
    """Check recent texts for drift.

    Compares the texts scored and served since the last check with the training reviews. Needs a log of them: the
    setting SENTIFLOW_PREDICTION_LOG_DIR.
    """
    from sentiflow.monitoring.log import need_log
    from sentiflow.settings import load_settings
    from sentiflow.store.find import model_named

    settings = load_settings()
    need_log(settings)
    model = dataset_of(model_named(settings, dataset))
    from sentiflow.operations.prefect_server import use_running

    use_running(settings)
    wait_for_server = start_servers(settings)
    from flows.monitor import monitor

    wait_for_server()
    outcome = monitor(model)
    stdout = stdout_for(vars(outcome) | {"drifted": outcome.drifted, "summary": outcome.summary}, as_json=as_json)
    stdout.say(*map(escape, outcome.accuracy))
    if outcome.result is not None:
        from sentiflow.monitoring import check

        stdout.say(f"Drift of {escape(outcome.model)}: {outcome.texts:,} recent texts against the reviews\n")
        print_table(check.table(outcome.result), stdout)
        stdout.say(f"\n{check.NO_LABELS}", f"Report: {escape(outcome.run_url)}")
    stdout.say(f"[bold]{escape(outcome.drift)}[/]")
    if outcome.drifted or outcome.dropped:
        from sentiflow.monitoring.check import what_to_do

        stdout.say(escape(what_to_do(outcome.model)))


@command(
    app, OPERATE, "sentiflow label", "sentiflow label --export texts.csv",
    "sentiflow label --import texts.csv --by anna",
)  # fmt: skip
def label(
    *,
    texts: Annotated[int, typer.Option(min=20, max=10_000, help="How many texts to draw.")] = 200,
    dataset: WhoseOption = None,
    export: Annotated[Path | None, file_option(help="Write the newest sample to a .csv file.")] = None,
    import_: Annotated[Path | None, file_option("--import", help="Read labels from such a file.")] = None,
    by: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,...", help="Who labels, at most 10 people, by their logins. Or who gave the imports."
        ),
    ] = None,
    delete: Annotated[
        str | None, typer.Option(metavar="ID", help="Delete a text: from log, sample and MLflow.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Draw texts for people to label.

    Draws at random from the texts that were scored and served since the last sample, and puts them into a review
    queue of MLflow, without the model's answer. From the labels, sentiflow monitor tells the accuracy in use.
    """
    from sentiflow.monitoring import labelling
    from sentiflow.monitoring.log import need_log
    from sentiflow.settings import load_settings
    from sentiflow.store import review
    from sentiflow.store.find import model_named

    others = sum(given is not None for given in (export, import_, delete))
    if others > 1:
        raise UsageError("--export, --import and --delete do not go together.", "Give one of them.")
    people = [name for part in (by or "").split(",") if (name := part.strip())]
    if len(people) > _MOST_PEOPLE:
        raise UsageError(f"A queue is for at most {_MOST_PEOPLE} people, not {len(people)}.", "--by anna,bob")
    if import_ is not None and len(people) != 1:
        raise UsageError("Imported labels are one person's.", "sentiflow label --import texts.csv --by anna")
    settings = load_settings()
    if not others:
        need_log(settings)
    model = model_named(settings, dataset)
    if delete is not None:
        sample, reports = labelling.delete(delete, model, settings)
        done = f"Deleted {delete} from the log, from {sample.title} and from MLflow."
        if moved := [table for table in sample.tables if not Path(table).exists()]:
            done += f" Not found, so look whether it is in them: {', '.join(moved)}"
        if reports:
            done += f" Reports of these runs may quote it (delete what does in MLflow): {', '.join(reports)}"
    elif export is not None:
        labelling.export(sample := labelling.need_samples(model, settings)[-1], export)
        done = f"Wrote {len(sample.texts):,} texts of {sample.title} to {export}"
    elif import_ is not None:
        samples = labelling.need_samples(model, settings)
        sample, count = labelling.add_labels(import_, people[0], samples, settings)
        done = f"Added {count:,} labels of {people[0]} to {sample.title}"
    else:
        sample = labelling.new_sample(model, texts, people, settings, progress_bar)
        done = f"{sample.title}: {len(sample.texts):,} of {sum(sample.population):,} texts, drawn at random"
    page = review.page_url(sample.experiment, sample.queue, settings)
    stdout = stdout_for({"sample": sample.number, "texts": len(sample.texts), "page": page}, as_json=as_json)
    stdout.say(f"[bold]{escape(done)}[/]")
    stdout.say(
        f"Label them:  {escape(to_open(page, settings))}",
        f"The accuracy: sentiflow monitor --dataset {dataset_of(model)}",
    )


@command(app, INSPECT, "sentiflow ui", "sentiflow ui --port 5001")
def ui(
    port: Annotated[
        int | None, typer.Option(min=1, max=65_535, help="Port; by default the one of SENTIFLOW_UI_URL.")
    ] = None,
) -> None:
    """Start the MLflow UI; Ctrl-C ends it."""
    from sentiflow.settings import load_settings

    settings = load_settings()
    if settings.tracking_uri.startswith("http"):
        from sentiflow.store.client import connect, experiment_id
        from sentiflow.store.ui import runs_url, ui_url

        pages = runs_url(ui_url(settings), experiment_id(connect(settings), settings))
        CONSOLE.say(f"The store is a server: open {escape(pages)}")
        return
    place = urlparse(settings.ui_url)
    host, port = place.hostname or "127.0.0.1", port or place.port or 5000
    hint = "Choose another: sentiflow ui --port NUMBER. SENTIFLOW_UI_URL names the host."
    with environment.open_socket(host, port, hint) as listener:
        try:
            _show_pages(settings, listener, host, port)
        except (KeyboardInterrupt, SystemExit):  # Ctrl-C and `kill` are how it ends; a closed terminal is not
            if signals.first_signal() == signal.SIGHUP:
                raise


def _show_pages(settings: "Settings", listener: socket.socket, host: str, port: int) -> None:
    """Serve at a socket until the server ends, which it does not by itself.

    This process keeps the socket, so that no other can take the address and get the login.
    """
    CONSOLE.print("Starting the MLflow UI ...")
    from sentiflow.children import Child, stop
    from sentiflow.store.client import connect, experiment_id
    from sentiflow.store.ui import LOGIN, login_note, runs_url

    address = environment.address_of(host, port)
    experiment = experiment_id(connect(settings), settings)
    descriptor = listener.fileno()
    with login_note(settings, listener, address) as (login, note):
        server = Child(
            ["sentiflow.store.ui_server", str(descriptor), settings.tracking_uri, str(settings.artifacts), host,
             str(port)],
            {**os.environ, LOGIN: login},
            descriptors=[descriptor],
        )  # fmt: skip
        try:
            if not server.answers(f"{address}/health", _START_SECONDS):
                code = server.poll()
                why = f"did not answer within {_START_SECONDS} s" if code is None else f"ended (exit code {code})"
                raise ExternalError(f"The MLflow UI {why}.", _AGAIN)
            shown = f"MLflow UI: [bold]{escape(runs_url(address, experiment))}[/]"
            CONSOLE.say(f"{shown}{shown_login(login, note)}   (Ctrl-C ends it)")
            code = server.wait()
        finally:
            stop([server])
    raise ExternalError(f"The MLflow UI ended with exit code {code}.", _AGAIN)
