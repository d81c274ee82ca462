"""Samples of logged texts: drawn from each stratum, each text once, never again."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from sentiflow.errors import UsageError
from sentiflow.monitoring.log import SERVED, Entry, TextLog
from sentiflow.monitoring.sample import Sample, allocated, divided, draw
from sentiflow.scoring import TextScorer
from sentiflow.store.records import Version

VERSION = Version("mine-sentiment", 3, "champion")


class Scores:
    """Scores a text by the number that it is."""

    label_names = ("bad", "good")

    def score(self, texts: list[str]) -> np.ndarray:
        return np.array([float(text) for text in texts])


def log(tmp_path: Path, *texts: str) -> TextLog:
    made = TextLog(tmp_path / "log", 10_000_000)
    at = datetime.now(UTC).isoformat()
    made.append([Entry(at, SERVED, VERSION.name, 1, 0.5, text) for text in texts])
    return made


def drawn(made: TextLog, size: int, *before: Sample) -> Sample:
    scorer: TextScorer = Scores()  # type: ignore[assignment]
    return draw(made, VERSION, scorer, size, before, np.random.default_rng(0))


def test_strata_vary_equally_much_and_begin_with_the_least_sure() -> None:
    """By hand: 16 texts vary by 0.5 each and 80 by 0.3, together by 32; 6.4 of it are 13 of the first."""
    scores = np.array([0.9, *[0.5] * 8, *[0.1] * 40, *[0.5] * 8, *[0.9] * 39])
    strata = divided(scores)
    assert [len(stratum) for stratum in strata] == [13, 3 + 16, 21, 22, 21]
    assert [int((scores[stratum] == 0.5).sum()) for stratum in strata] == [13, 3, 0, 0, 0]
    assert [len(stratum) for stratum in divided(np.ones(20))] == [4] * 5


def test_of_each_stratum_as_many_are_drawn_or_all_that_it_has() -> None:
    assert allocated([100, 100], 21) == [10, 11]
    assert allocated([200, 6, 100], 100) == [47, 6, 47]
    assert allocated([4, 100, 20], 1_000) == [4, 100, 20]


def test_a_text_is_drawn_once_and_not_again(tmp_path: Path) -> None:
    texts = [f"{k / 1000}" for k in range(100, 200)]
    made = log(tmp_path, *texts, *texts)
    first = drawn(made, 40)
    assert sum(first.population) == 100 and len({each.text for each in first.texts}) == 40
    assert [sum(each.stratum == k for each in first.texts) for k in range(5)] == [8] * 5
    assert (first.number, first.version, first.names) == (1, 3, ("bad", "good"))
    assert all(each.score == float(each.text) for each in first.texts)
    assert first.confidence == pytest.approx(1 - 0.1495)
    made = log(tmp_path, *(each.text for each in first.texts), "0.7")
    second = drawn(made, 40, first)
    assert (second.number, [each.text for each in second.texts]) == (2, ["0.7"]), "what is new, alone"
    assert second.population == [41], "of what came since"
    third = drawn(made, 40, first, second)
    fourth = drawn(made, 40, first, second, third)
    assert (sum(third.population), sum(fourth.population)) == (101, 101), "and then what was left, for all"
    rest = {each.text for each in [*first.texts, *third.texts, *fourth.texts]}
    assert rest == set(texts) and len(third.texts) == 40
    with pytest.raises(UsageError, match="log has no text of mine-sentiment that was not drawn"):
        drawn(made, 40, first, second, third, fourth)


def test_the_rest_that_earlier_samples_left_stands_for_all_texts(tmp_path: Path) -> None:
    """Right are 60% of the less sure half, most of which were drawn, and all others: 80%; by the rest 93%."""
    unsure, sure = (f"{0.5 + k / 10_000:.4f}" for k in range(500)), (f"{1 - k / 10_000}" for k in range(500))
    made = log(tmp_path, *unsure, *sure)
    first = drawn(made, 600)
    second = drawn(made, 300, first)
    for each in (first, second):
        right: list[list[bool]] = [[], [], [], [], []]
        for text in each.texts:
            right[text.stratum].append(text.score > 0.9 or int(1e4 * text.score) % 5 < 3)
        found = np.average([np.mean(hits) for hits in right], weights=each.population)
        assert found == pytest.approx(0.8, abs=0.06)


def test_texts_of_a_log_that_began_again_are_all_drawn_from(tmp_path: Path) -> None:
    first = drawn(made := log(tmp_path, *(f"{k / 1000}" for k in range(100, 200))), 20)
    made.file.unlink()
    made = log(tmp_path, *(f"{k / 1000}" for k in range(300, 500)))
    second = drawn(made, 20, first)
    assert sum(second.population) == 200 and second.at > first.at


def test_a_deleted_text_is_gone_from_the_log_and_its_file(tmp_path: Path) -> None:
    made = log(tmp_path, "my own name", "0.2", "my own name")
    made.delete(lambda text: text == "my own name")
    assert [entry.text for batch in made.after(VERSION.name, 0) for entry in batch] == ["0.2"]
    assert b"my own name" not in made.file.read_bytes()
