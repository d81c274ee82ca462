"""All cases, in the order of their numbers."""

from tests.faults import (
    backup,
    caches,
    champion,
    damage,
    downloads,
    endurance,
    kills,
    machines,
    outages,
    schedules,
    scoring,
    service,
    signals,
)

CASES = {
    case.name: case
    for case in (
        kills.F1, signals.F1S, downloads.F1D, schedules.F2, kills.F3, schedules.F4, champion.F5, champion.F6,
        scoring.F7, service.F8, scoring.F9, backup.F10, outages.F11, schedules.F12, kills.F13, service.F14,
        endurance.F15, damage.F16, damage.F17, machines.F18, caches.F19,
    )
}  # fmt: skip
