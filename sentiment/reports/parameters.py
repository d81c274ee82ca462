"""What a run was given."""

from collections.abc import Mapping, Sequence

from sentiment.comparison import differing
from sentiment.recipes import RECIPES, SEED, TrainConfig
from sentiment.reports.account import Account
from sentiment.reports.blocks import Block, Table, Text, cells


def changed(params: Mapping[str, str]) -> list[Block]:
    """Fields of a run's recipe that are not as in the recipe of that name, or in ``seed``."""
    name = params.get("recipe")
    given = [field for field in TrainConfig.model_fields if field in params and field != "recipe"]
    if name is None or not given:
        return []
    base = RECIPES.get(name)
    others = {name: base} if base is not None and base != SEED else {}
    columns = [_as_logged(one) for one in (*others.values(), SEED)]
    rows = [
        (field, params[field], *(column[field] for column in columns))
        for field in given
        if any(params[field] != column[field] for column in columns)
    ]
    if not rows:
        return [Text("None: the recipe is seed, as it stands.")]
    return [Table(("field", "this run", *others, "seed"), rows, words=1)]


def _as_logged(config: TrainConfig) -> dict[str, str]:
    return {field: str(value) for field, value in config.model_dump().items()}


def side_by_side(accounts: Sequence[Account], labels: Sequence[str]) -> list[Block]:
    """Parameters that are not the same in all runs."""
    found = differing([account.record for account in accounts])
    if not found:
        return [Text("None: all runs were given the same.")]
    rows = [(name, *("-" if value is None else value for value in row)) for name, row in found.items()]
    return [Table(("parameter", *labels), rows)]


def all_of(account: Account) -> list[Block]:
    """Everything that the run says of itself."""
    record = account.record
    facts = {
        "run id": record.run_id,
        "status": record.status,
        "started": f"{record.started:%Y-%m-%d %H:%M:%S %Z}",
        "registered as": account.version or "-",
        "git commit": record.tags.get("git.commit", "-"),
        "tree dirty": record.tags.get("git.dirty", "-"),
        "started by": record.tags.get("started_by", "-"),
    }
    epoch = account.metrics.get("train/kept_epoch")
    facts["weights of epoch"] = cells(lambda value: f"{value:.0f}", epoch)
    return [Table(("fact", "value"), [*facts.items(), *account.facts.items(), *record.params.items()], words=2)]
