"""``sentiflow promote``."""

import logging

from flows.cli.outcome import show_judgement, tell
from sentiflow.console import CONSOLE, Console
from sentiflow.errors import RefusedError
from sentiflow.settings import Settings, load_settings
from sentiflow.tracking import promotion
from sentiflow.tracking.candidate import LOGGER, Weighed, weigh
from sentiflow.tracking.versions import model_named


def run(number: int | None, dataset: str | None, reason: str, *, force: bool, dry_run: bool) -> None:
    """Weigh a version, show what the gate says, and promote it unless it says no or this is a dry run."""
    promotion.check_request(force=force, reason=reason)
    settings = load_settings()
    name = model_named(settings, dataset)
    if settings.promotion_approval and not dry_run:
        _with_approval(name, number, reason, force=force)
        return
    LOGGER.setLevel(logging.INFO)  # it says so when reviews have to be scored again
    weighed = weigh(name, number, settings)
    console = Console()
    show_judgement(weighed, console)
    if dry_run:
        _end_dry(weighed, settings, console, force=force)
        return
    verdict = promotion.decide(weighed, force=force, reason=reason)
    tell(promotion.carry_out(weighed, verdict, settings), console)


def _end_dry(weighed: Weighed, settings: Settings, console: Console, *, force: bool) -> None:
    would = weighed.decision.passed or force
    done = "be put to a person" if settings.promotion_approval else "be promoted"
    console.print(f"Dry run: it would {done if would else 'not be promoted'}. Nothing was changed.")
    if not would:
        raise RefusedError(f"The gate refuses {weighed.name} version {weighed.version}.")


def _with_approval(name: str, number: int | None, reason: str, *, force: bool) -> None:
    """Run the flow: it pauses in the Prefect UI, and a person answers there."""
    from flows.promote import promote
    from tasks.promote import need_server

    need_server(load_settings())
    CONSOLE.print("The settings ask for a person's approval, in the Prefect UI.")
    outcome = promote(name.removesuffix("-sentiment"), number, force=force, reason=reason)
    tell(outcome, Console())
