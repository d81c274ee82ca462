"""What tasks write log lines to: a flow run's logger, or a plain one."""

import logging
from typing import Any

Logger = logging.Logger | logging.LoggerAdapter[Any]
