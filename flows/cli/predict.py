"""``sentiflow predict``."""

from collections.abc import Sequence

from sentiflow.console import Console, escape
from sentiflow.errors import UsageError
from sentiflow.names import model_name
from sentiflow.scoring import label_of
from sentiflow.settings import load_settings
from sentiflow.tracking.versions import find_version, load_scorer

_SHOWN = 60


def run(texts: Sequence[str], number: int | None, dataset: str | None) -> None:
    """Print label, score and beginning of each text, and which version answered."""
    if any(not text.strip() for text in texts):
        raise UsageError("A text is empty.", 'For example: sentiflow predict "A quiet film that stays with you."')
    settings = load_settings()
    version = find_version(settings, None if dataset is None else model_name(dataset), number)
    scores = load_scorer(settings, version).score(texts)
    console = Console()
    for text, score in zip(texts, scores.tolist(), strict=True):
        label = label_of(score)
        colour = "green" if label == "positive" else "red"
        line = " ".join(text.split())
        beginning = line if len(line) <= _SHOWN else f"{line[: _SHOWN - 3]}..."
        console.print(f"[{colour}]{label}[/]  {score:.4f}  {escape(beginning)}", soft_wrap=True)
    console.print(f"[dim]{version.name} version {version.number} ({version.why})[/]")
