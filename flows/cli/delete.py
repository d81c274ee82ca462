"""``sentiflow delete``."""

from sentiflow.console import Console, escape
from sentiflow.settings import load_settings
from sentiflow.tracking import promotion
from sentiflow.tracking.versions import model_named


def run(number: int, dataset: str | None) -> None:
    """Delete a version that no alias holds."""
    settings = load_settings()
    name = model_named(settings, dataset)
    promotion.delete(name, number, settings)
    Console().print(f"{escape(name)} version {number} is deleted; its run stays.", soft_wrap=True)
