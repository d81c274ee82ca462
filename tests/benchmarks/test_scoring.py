"""Tests of the scoring benchmark's own sums; what it measures is not tested."""

from benchmarks import dask_scoring
from benchmarks.dask_scoring import Measured
from benchmarks.scoring import Round, render


def test_medians_and_ratios_worked_by_hand() -> None:
    rounds = [
        Round(2.0, 20_000, 30_000, 300.0, 500.0),
        Round(9.0, 4_000, 5_000, 310.0, 400.0),
        Round(2.5, 15_000, 25_000, 305.0, 1_000.0),
    ]
    text = render(rounds, 25_000, "A machine", "2026-01-01")
    assert "| `sentiflow score`, its whole process | 10,000 | 20.0 times |" in text  # 25,000 / 2.5, and 500
    assert "| the same, once its imports are done | 15,000 | 30.0 times |" in text
    assert "| its whole process, all of them 40 times over | 25,000 | 50.0 times |" in text
    assert "without reading and writing | 500 | |" in text
    assert "takes 2.50 s for them, at most 305 MB with its workers" in text
    assert "Medians of 3 rounds in turns, on 2026-01-01" in text and "A machine." in text


def test_what_dask_loses_and_what_limits_a_hundred_workers_by_hand() -> None:
    short = Measured(1, [(0.0, 0.5)], command=3.0, scheduler=0.5)
    one = Measured(1, [(10.0, 10.4), (10.5, 10.9), (11.0, 11.4), (11.6, 12.0)], command=3.06, scheduler=0.503)
    two = Measured(2, [(10.0, 10.5), (10.0, 10.5), (10.5, 11.0), (10.75, 11.25)], command=3.1, scheduler=0.51)
    text = dask_scoring.render(short, [one, two], 8_000, 12_000_000, "A machine", "2026-01-01")
    assert "| 1 | 2.0 | 4,000 | 20% |" in text  # four times 0.4 s of 2 s
    assert "| 2 | 1.2 | 6,400 | 20% |" in text  # 2 s of twice 1.25 s
    # three chunks more took 60 ms more of the command and 3 ms of the scheduler
    assert "(3.0 MB) one worker computes 400 ms, the command 20 ms and the scheduler 1.0 ms" in " ".join(
        text.split()
    )
    assert "at most 20 such workers busy, at 102,400 reviews a second; 100 of them would wait for it 80%" in text
