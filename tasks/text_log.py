"""The text log of the settings."""

from sentiment.settings import Settings
from sentiment.text_log import TextLog

MEGABYTE = 1_000_000


def text_log(settings: Settings) -> TextLog | None:
    """The log for monitoring, or None where none is asked for; makes nothing."""
    if settings.text_log is None:
        return None
    return TextLog(settings.text_log, int(settings.text_log_mb * MEGABYTE))
