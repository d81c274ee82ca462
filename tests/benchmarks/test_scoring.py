"""Tests of the scoring benchmark's own sums; what it measures is not tested."""

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
    assert "| its whole process, all of them 8 times over | 25,000 | 50.0 times |" in text
    assert "without reading and writing | 500 | |" in text
    assert "takes 2.50 s for them, at most 305 MB with its workers" in text
    assert "Medians of 3 rounds in turns, on 2026-01-01" in text and "A machine." in text
