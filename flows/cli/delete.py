"""``sentiflow delete``."""

from sentiment.settings import load_settings
from tasks import promotion
from tasks.champion import model_named
from tasks.terminal import Console, escape


def run(number: int, dataset: str | None) -> None:
    """Delete a version that no alias holds."""
    settings = load_settings()
    name = model_named(settings, dataset)
    promotion.delete(name, number, settings)
    Console().print(f"{escape(name)} version {number} is deleted; its run stays.", soft_wrap=True)
