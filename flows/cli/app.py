"""The Typer app of all commands.

The commands' modules import at their top only what ``--help`` needs, and what takes longer inside functions.
"""

from typing import Any

import typer
from typer.core import TyperGroup

from flows.cli import admin, compare, inference, models, runs, schedule, sweep, train

_ORDER = (
    "train", "data", "runs", "compare", "sweep", "baselines", "report",
    "promote", "rollback", "history", "versions", "delete", "predict", "explain", "score", "serve",
    "schedule", "trigger", "import", "housekeeping", "monitor", "ui",
)  # fmt: skip


class _Commands(TyperGroup):
    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - as click calls it
        return sorted(self.commands, key=_ORDER.index)


app = typer.Typer(
    name="sentiflow",
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Train, track, register and use a sentiment model of film reviews.",
    epilog="Settings are read from SENTIFLOW_* variables and .env; docs/settings.md lists them.",
)
for module in (train, runs, compare, sweep, models, inference, schedule, admin):
    app.add_typer(module.app)
