"""``sentiflow rollback``."""

from sentiment.settings import load_settings
from tasks import promotion
from tasks.champion import model_named
from tasks.terminal import Console, escape


def run(dataset: str | None, reason: str) -> None:
    """Put the version before the champion back in use."""
    settings = load_settings()
    event = promotion.rollback(name := model_named(settings, dataset), reason, settings)
    Console().print(
        f"[bold]{escape(name)} version {event.version} is the champion again[/], version {event.replaced} is not.",
        soft_wrap=True,
    )
