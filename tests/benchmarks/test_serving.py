from benchmarks.serving import CONNECTIONS, Load, Round, render


def one_round(path: str, a_second: float, failed: int, ready: float) -> Round:
    load = Load(1_000, a_second, 0, failed, 1.0, 2.0, 3.0)
    return Round(ready, 100, {(path, connections): load for connections in CONNECTIONS})


def test_the_table_holds_medians_the_ratio_at_most_connections_and_every_failure() -> None:
    rounds = {
        "ours": [
            one_round("/predict", 900, 0, 1.0),
            one_round("/predict", 1_500, 2, 1.4),
            one_round("/predict", 1_200, 1, 1.2),
        ],
        "theirs": [
            one_round("/invocations", 100, 0, 5.0),
            one_round("/invocations", 90, 0, 6.0),
            one_round("/invocations", 160, 0, 7.0),
        ],
    }
    text = render(rounds, "a machine", "2026-01-02")
    # no failure is left out
    assert "| ours | `/predict` | 32 | 1,200 | 1.0 ms | 2.0 ms | 3.0 ms | 3 of 3,000 |" in text
    assert "| theirs | `/invocations` | 1 | 100 | 1.0 ms | 2.0 ms | 3.0 ms | 0 of 3,000 |" in text
    assert "With 32 connections 12.0 times as many requests a second." in text
    assert "ours answers after 1.2 s and takes 100 MB at most" in text
    assert text.endswith("Medians of 3 rounds, in turns, one test review a request, on 2026-01-02. a machine.")
