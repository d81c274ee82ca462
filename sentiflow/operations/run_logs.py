"""The library's log lines, as those of the flow run or task run of Prefect that they are said in."""

import logging

from prefect import get_run_logger
from prefect.exceptions import MissingContextError


class _OfRun(logging.Handler):
    """Makes a line one of Prefect's logger of the run, if there is one; what prints lines comes after it."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            run = get_run_logger()
        except MissingContextError:
            return
        if isinstance(run, logging.LoggerAdapter):
            record.name = run.logger.name
            vars(record).update({**(run.extra or {}), **vars(record)})
            for handler in run.logger.handlers:
                handler.handle(record)


_HANDLER = _OfRun()


def collect() -> None:
    """Let Prefect have the library's log lines, as those of loggers that ``PREFECT_LOGGING_EXTRA_LOGGERS`` names.

    That setting itself is read before the process of a worker imports any code of ours.
    """
    ours = logging.getLogger("sentiflow")
    ours.addHandler(_HANDLER)
    ours.setLevel(logging.getLogger("prefect").getEffectiveLevel())
