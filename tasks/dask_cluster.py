"""The Dask cluster of the settings."""

from typing import Any

from sentiment.errors import UsageError, WorldError
from sentiment.settings import Settings

REACH_SECONDS = 10
_MISSING = "Install the extra: pip install 'sentiflow[team]'"


def check_dask(settings: Settings) -> None:
    """Tell what the settings or this environment lack.

    Raises:
        UsageError: there is no address, or Dask is not installed.
    """
    if settings.dask_address is None:
        raise UsageError(
            "The task runner dask needs the address of its scheduler.",
            "Set SENTIFLOW_DASK_ADDRESS, say to tcp://127.0.0.1:8786, or SENTIFLOW_TASK_RUNNER to processes.",
        )
    try:
        import distributed  # noqa: F401
    except ImportError as err:
        raise UsageError(f"The task runner dask needs Dask: {err}.", _MISSING) from err


def dask_client(settings: Settings) -> Any:  # distributed is not typed
    """Connect to the scheduler, and wait until it has a worker; the caller closes the client.

    Raises:
        UsageError: there is no address, or Dask is not installed.
        WorldError: nobody answers, or no worker comes.
    """
    check_dask(settings)
    from distributed import Client

    client: Any = None
    try:
        client = Client(  # type: ignore[no-untyped-call]
            settings.dask_address, timeout=REACH_SECONDS, set_as_default=False
        )
        client.wait_for_workers(1, timeout=REACH_SECONDS)
    except (OSError, TimeoutError) as err:
        if client is not None:
            client.close()
        raise WorldError(
            f"No Dask scheduler with a worker answers at {settings.dask_address}.",
            "Start `dask scheduler` and `dask worker`, or correct SENTIFLOW_DASK_ADDRESS.",
        ) from err
    return client


def threads_of(client: Any) -> int:
    """How many calls the cluster's workers take at a time."""
    return int(sum(client.nthreads().values()))
