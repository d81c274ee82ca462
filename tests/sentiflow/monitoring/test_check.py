"""Tests of what a drift check collects."""

from pathlib import Path

from sentiflow.monitoring.check import collect_texts
from sentiflow.monitoring.log import SCORED, SERVED, Entry, TextLog

MODEL = "sample-sentiment"


def entry(second: int, source: str, text: str, model: str = MODEL) -> Entry:
    return Entry(f"2026-01-01T00:00:{second:02d}+00:00", source, model, 1, 0.5, text)


def test_each_text_is_collected_once_and_all_are_counted(tmp_path: Path) -> None:
    log = TextLog(tmp_path / "log", 1_000_000)
    log.append([entry(0, SERVED, "other", "imdb-sentiment"), entry(5, SERVED, "a"), entry(3, SERVED, "b")])
    log.append([entry(7, SCORED, "a"), entry(9, SCORED, "c")])
    texts = collect_texts(log, MODEL)
    assert texts.texts.tolist() == ["a", "b", "c"]
    assert (texts.distinct, texts.repeated, texts.sources) == (3, 1, {"served": 2, "scored": 2})
    assert (texts.first[-8:-6], texts.last[-8:-6]) == ("03", "09")
    assert texts.last_id == 5


def test_without_new_texts_the_table_is_empty(tmp_path: Path) -> None:
    texts = collect_texts(TextLog(tmp_path / "log", 1_000_000), MODEL)
    assert (texts.distinct, texts.repeated, texts.first, texts.last, texts.last_id) == (0, 0, "", "", 0)
