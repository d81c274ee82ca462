"""All cases, in the order of their numbers; what has no case any more is shown by tests (docs/reliability.md)."""

from tests.faults import (
    caches,
    champion,
    damage,
    downloads,
    full,
    kills,
    labels,
    machines,
    outages,
    schedules,
    scoring,
    signals,
    tables,
    waits,
)  # fmt: skip

CASES = {
    case.name: case
    for case in (
        kills.F1, signals.F1S, downloads.F1D, schedules.F2, schedules.F4, champion.F5, scoring.F7, outages.F11,
        schedules.F12, damage.F16, damage.F17, machines.F18, caches.F19, labels.F20, waits.F21, waits.F22,
        tables.F23, tables.F24, full.F25,
    )
}  # fmt: skip
