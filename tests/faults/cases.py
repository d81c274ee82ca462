"""All cases, in the order of their numbers."""

from tests.faults import backup, champion, endurance, kills, outages, scoring, service

CASES = {
    case.name: case
    for case in (
        kills.F1, kills.F3, champion.F5, champion.F6, scoring.F7, service.F8, scoring.F9, backup.F10,
        outages.F11, kills.F13, service.F14,
        endurance.F15,
    )
}  # fmt: skip
