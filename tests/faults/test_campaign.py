"""The table of the campaign."""

import sys
from dataclasses import replace

import pytest

from tests.faults import __main__ as program
from tests.faults.campaign import Case, Result, render
from tests.faults.cases import CASES
from tests.world import ROOT

CASE = Case("F0", "It holds.", "By hand.", lambda _worlds, _folder, _seed: {}, 1, 2, ())
GOOD = Result("F0", 0, True, "", {"kills": 2}, 1.0, "aaa", "2026-11-26T10:00:00+00:00", "a machine")
BROKEN = replace(GOOD, passed=False, found="AssertionError: a | b\nc", counted={})


def row(*results: Result) -> str:
    return render([CASE], list(results)).splitlines()[2]


def test_how_a_case_is_tested_stands_below_the_table() -> None:
    assert render([CASE], [GOOD]).splitlines()[-3:] == ["## How it is tested", "", "**F0.** By hand."]


def test_tries_of_other_seeds_add_up_over_days() -> None:
    other = replace(GOOD, seed=1, counted={"kills": 1_000}, at="2026-11-27T10:00:00+00:00", commit="bbb")
    assert row(GOOD, other) == (
        "| F0 | It holds. | 2 tries: 1,002 kills (2026-11-26 to 2026-11-27, at aaa, bbb) | nothing |"
    )


def test_a_seed_that_is_tried_again_counts_once() -> None:
    assert "1 try: 2 kills" in row(GOOD, GOOD)


def test_a_failure_stays_in_the_table_when_its_seed_passes_later() -> None:
    assert row(GOOD, BROKEN).endswith("| seeds 0 at aaa: a / b c |")
    others = replace(BROKEN, seed=3), replace(BROKEN, seed=4, found="AssertionError:")
    passed = [replace(each, passed=True, commit="bbb") for each in (BROKEN, others[0])]
    assert row(BROKEN, *others, *passed).endswith(
        "| seeds 0, 3 at aaa, pass since: a / b c; seeds 4 at aaa: no message |"
    )


def test_a_case_that_was_not_tried_here_keeps_its_row() -> None:
    """Red if a few tries of one case, on another machine, removed the evidence of all others."""
    assert "F0" not in render([CASE], [])
    before = render([CASE], [GOOD])
    assert render([CASE], [], before) == before
    other = replace(CASE, name="F1")
    both = render([CASE, other], [replace(GOOD, case="F1", machine="another")], before)
    assert row(GOOD) in both and "| F1 | It holds. |" in both and "**F1.** By hand." in both


@pytest.mark.parametrize(
    ("minutes", "told"),
    [("1", "F0 seed 1: ok"), ("0", "F0 seed 0 and what follows: not tried, 0 minutes are over")],
)
def test_no_try_begins_when_the_time_is_over(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], minutes: str, told: str
) -> None:
    monkeypatch.setattr(program, "CASES", {"F0": CASE})
    monkeypatch.setattr(sys, "argv", ["faults", "F0", "--tries", "2", "--minutes", minutes])
    with pytest.raises(SystemExit) as end:
        program.main()
    printed = capsys.readouterr().out
    assert (end.value.code, told in printed, "F0 seed 0: ok" in printed) == (0, True, minutes == "1"), printed


def test_the_faults_of_each_case_can_still_be_put_into_the_code() -> None:
    """Red where the code has moved on: `--red` would take hours to say so."""
    reds = [red for case in CASES.values() for red in case.reds]
    assert len(reds) > 20
    assert [red.what for red in reds if (ROOT / red.file).read_text().count(red.old) != 1] == []
