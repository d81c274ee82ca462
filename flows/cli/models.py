"""``sentiflow promote``, ``rollback`` and ``versions``: which version is in use."""

import logging
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.options import PROMOTE, JsonOption, ReasonOption, WhoseOption, command
from flows.cli.output import print_table, short_moment, show_judgement, show_promotion, stdout_for
from sentiflow.console import escape, working
from sentiflow.environment import person
from sentiflow.errors import RejectedError, UsageError
from sentiflow.names import dataset_of
from sentiflow.reports.blocks import Table, format_cell
from sentiflow.run.record import short_name

if TYPE_CHECKING:
    from sentiflow.promotion.candidate import Candidate
    from sentiflow.settings import Settings

_LOGGER = logging.getLogger("sentiflow.promotion")  # it says so when reviews have to be scored again

app = typer.Typer()


@command(
    app,
    PROMOTE,
    "sentiflow promote",
    "sentiflow promote 3 --dry-run",
    'sentiflow promote 3 --force --reason "the champion fails on long reviews"',
    'sentiflow promote 3 --decline --reason "not before the holidays"',
)
def promote(
    version: Annotated[
        int | None,
        typer.Argument(
            metavar="[VERSION]",
            min=1,
            help="Which version; by default the lowest validation loss of those never in use.",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Promote even if checks fail; needs --reason, and is recorded.")
    ] = False,
    reason: ReasonOption = "",
    approve: Annotated[
        bool | None, typer.Option("--approve/--decline", help="Answer about a version that waits for a person.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the checks, and change nothing.")] = False,
    require_approval: Annotated[
        bool,
        typer.Option("--require-approval", help="Promote nothing; from now on a person approves each promotion."),
    ] = False,
    dataset: WhoseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Promote a version if it passes all checks.

    Compares it with the champion on the same test reviews, and checks its accuracy, latency and size.
    """
    from sentiflow.promotion.history import check_request
    from sentiflow.settings import load_settings
    from sentiflow.store.find import model_named

    check_request(reason, force=force)
    settings = load_settings()
    name = model_named(settings, dataset)
    if require_approval:
        if version or force or reason or dry_run or approve is not None:
            raise UsageError("--require-approval promotes nothing.", "Give it alone, or with --dataset.")
        from sentiflow.promotion import switch

        switch.require_approval(name, settings)
        stdout = stdout_for({"model": {"name": name}, "approval": True}, as_json=as_json)
        stdout.say(f"From now on a person approves each promotion of {escape(name)}.")
        return
    if approve is not None and (force or dry_run):
        raise UsageError("An answer judges the version as it was asked about.", "Leave out --force and --dry-run.")
    if dry_run:
        _show_dry(name, version, settings, force=force, as_json=as_json)
        return
    with working("Checking the candidate"):
        from sentiflow.promotion import switch

        _LOGGER.setLevel(logging.INFO)
        if approve is None:
            candidate = switch.promote(name, version, settings, force=force, reason=reason)
        else:
            candidate = switch.answer(name, version, settings, promote=approve, reason=reason, by=person())
    stdout = stdout_for(_record(candidate, candidate), as_json=as_json)
    show_judgement(candidate, stdout)
    show_promotion(candidate, stdout)


def _record(candidate: "Candidate", promotion: object) -> dict[str, object]:
    """What stands in the JSON: the model as after a training."""
    return {"model": {"name": candidate.name, "version": candidate.version}, "promotion": promotion}


def _show_dry(name: str, version: int | None, settings: "Settings", *, force: bool, as_json: bool) -> None:
    with working("Checking the candidate"):
        from sentiflow.promotion.candidate import evaluate_candidate

        _LOGGER.setLevel(logging.INFO)
        candidate = evaluate_candidate(name, version, settings, force=force)
    would = candidate.decision.passed or force
    record = {**vars(candidate), "would_promote": would}
    stdout = stdout_for(_record(candidate, record), as_json=as_json)
    show_judgement(candidate, stdout)
    from sentiflow.promotion.history import asks

    done = "wait for a person's answer" if asks(candidate.name, settings) else "be promoted"
    stdout.print(f"Dry run: it would {done if would else 'not be promoted'}. Nothing was changed.")
    if not would:
        raise RejectedError(candidate.summary, candidate.way_out)


@command(app, PROMOTE, 'sentiflow rollback --reason "complaints about version 5"')
def rollback(
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; kept in the history.")],
    dataset: WhoseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Return to the version that the champion replaced.

    Repeated, it goes further back.
    """
    from sentiflow.settings import load_settings
    from sentiflow.store.find import model_named

    settings = load_settings()
    with working("Checking the previous version"):
        from sentiflow.promotion import switch

        event = switch.rollback(name := model_named(settings, dataset), reason, settings)
    stdout_for({"model": {"name": name, "version": event.version}, "event": event}, as_json=as_json).say(
        f"[bold]{escape(name)} version {event.version} is the champion again[/], version {event.replaced} is not."
    )


@command(
    app,
    PROMOTE,
    "sentiflow versions",
    "sentiflow versions --dataset sample --history",
    "sentiflow versions --delete 3",
)
def versions(
    history: Annotated[
        bool, typer.Option("--history", help="List promotions, declines and rollbacks instead, newest first.")
    ] = False,
    delete: Annotated[
        int | None,
        typer.Option(
            "--delete", metavar="VERSION", min=1, help="Delete a version; refused while it has an alias."
        ),
    ] = None,
    dataset: WhoseOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the registered versions, or delete one."""
    from sentiflow.settings import load_settings
    from sentiflow.store.find import model_named

    if history and delete is not None:
        raise UsageError("--history and --delete cannot be used together.", "Choose one of them.")
    settings = load_settings()
    name = model_named(settings, dataset)
    if delete is not None:
        with working(f"Deleting version {delete}"):
            from sentiflow.promotion import switch

            switch.delete(name, delete, settings)
        stdout = stdout_for({"model": {"name": name, "version": delete}, "deleted": True}, as_json=as_json)
        stdout.say(f"{escape(name)} version {delete} is deleted; its run is kept.")
    elif history:
        _show_history(name, settings, as_json=as_json)
    else:
        _show_versions(name, settings, as_json=as_json)


def _show_versions(name: str, settings: "Settings", *, as_json: bool) -> None:
    from sentiflow.store.find import version_rows

    with working("Reading the versions"):
        rows = version_rows(name, settings)
    stdout = stdout_for({"name": name, "versions": rows}, as_json=as_json)
    stdout.print(f"[bold]{escape(name)}[/]")
    heading = ("version", "alias", "accuracy", "run", "last check", "reproduced", "registered")
    cells = [
        (
            str(row.number), ", ".join(row.aliases) or "-", format_cell(row.accuracy, ".2%"),
            short_name(row.run, dataset_of(name)), row.gate, row.reproduced,
            short_moment(row.registered.astimezone()),
        )
        for row in rows
    ]  # fmt: skip
    print_table(Table(heading, cells, words=7), stdout)


def _show_history(name: str, settings: "Settings", *, as_json: bool) -> None:
    from sentiflow.promotion.history import history_of, took_effect

    with working("Reading the history"):
        events, champion = history_of(name, settings)
    effects = took_effect(events, champion)
    rows = [*zip(events, effects, strict=True)][::-1]
    listed = [vars(event) | {"in_effect": done} for event, done in rows]
    stdout = stdout_for({"name": name, "champion": champion, "events": listed}, as_json=as_json)
    stdout.print(
        f"[bold]{escape(name)}[/]: "
        + ("no champion" if champion is None else f"version {champion} is the champion")
    )
    if not events:
        stdout.print("No promotion yet. Make one: sentiflow promote")
        return
    heading = ("when", "what", "version", "replaced", "accuracy", "reason", "who")
    cells = [
        (
            short_moment(datetime.fromisoformat(event.at).astimezone()),
            event.kind if done or event.kind == "decline" else f"{event.kind}, not in effect",
            str(event.version), "-" if event.replaced is None else str(event.replaced),
            format_cell(event.accuracy, ".2%"), event.reason, event.by,
        )
        for event, done in rows
    ]  # fmt: skip
    print_table(Table(heading, cells, words=7), stdout)
    moves = [(event, done) for event, done in rows if event.kind != "decline"]
    last = next((event.version if done else event.replaced for event, done in moves), None)
    if champion != last:
        stdout.print("[yellow]The alias was changed outside Sentiflow since; the history does not show that.[/]")
