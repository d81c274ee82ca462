"""The settings of what runs side by side: the trials of a sweep, the partitions of a large table."""

from typing import Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings

Runner = Literal["threads", "processes", "dask"]


class RunnerSettings(BaseSettings):
    """A part of ``Settings``."""

    task_runner: Runner = Field(
        default="processes",
        description="What runs a sweep's trials side by side: `threads` or `processes` of this machine, or `dask` "
        "for several; a process has an interpreter of its own, so that none waits for another.",
    )
    dask_address: str | None = Field(
        default=None,
        description="Dask's scheduler, such as tcp://10.0.0.5:8786; needed by `dask`. Its workers share "
        "SENTIFLOW_DATA_DIR and SENTIFLOW_TRACKING_URI with this machine.",
    )

    @field_validator("dask_address")
    @classmethod
    def _is_scheduler(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("tcp://", "tls://", "ws://", "wss://")):
            raise ValueError("expected the address of a Dask scheduler, such as tcp://10.0.0.5:8786")
        return value
