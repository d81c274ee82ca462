"""``sentiflow rollback``."""

from sentiflow.console import Console, escape
from sentiflow.settings import load_settings
from sentiflow.tracking import promotion
from sentiflow.tracking.versions import model_named


def run(dataset: str | None, reason: str) -> None:
    """Put the version before the champion back in use."""
    settings = load_settings()
    event = promotion.rollback(name := model_named(settings, dataset), reason, settings)
    Console().print(
        f"[bold]{escape(name)} version {event.version} is the champion again[/], version {event.replaced} is not.",
        soft_wrap=True,
    )
