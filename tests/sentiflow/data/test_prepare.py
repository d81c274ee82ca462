"""Tests of making a canonical table once and finding it again."""

import hashlib
import json
import os
import random
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sentiflow.data import imdb, reviews
from sentiflow.data import prepare as module
from sentiflow.data.division import text_id, word_hash
from sentiflow.data.prepare import (
    check_data,
    dataset_name,
    fetch,
    find_kept,
    find_prepared,
    kept_table,
    prepare,
)
from sentiflow.data.table import TableOptions
from sentiflow.errors import ExternalError, UsageError
from sentiflow.settings import Settings
from tests.sentiflow.data.test_reviews import same


def write(path: Path, word: str = "film", n: int = 10) -> str:
    lines = ["text,label", *(f"{word} scene {i},{i % 2}" for i in range(n))]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


@pytest.fixture
def table(tmp_path: Path) -> str:
    return write(tmp_path / "mine.csv")


def run(dataset: str, settings: Settings) -> module.Prepared:
    return prepare(fetch(dataset, settings), settings)


def test_a_table_is_made_the_first_time_and_found_and_used_the_second_time(table: str, settings: Settings) -> None:
    """Red if housekeeping would clear away what each training uses."""
    first = run(table, settings)
    assert first.made and first.table == settings.data_dir / "datasets" / "mine" / f"{first.digest}.parquet"
    assert reviews.digest(reviews.read(first.table), reviews.read_vocabulary(first.table)) == first.digest
    for file in (first.table, reviews.vocabulary_file(first.table)):
        os.utime(file, (1, 1))
    assert run(table, settings) == replace(first, made=False)
    assert first.table.stat().st_mtime == 1  # it is not written again
    assert time.time() - reviews.used_at(first.table) < 60


def test_a_table_that_changes_while_it_is_read_is_kept_under_no_name(
    table: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was found again, with the other content, once the file was as before."""
    source, read = fetch(table, settings), module.table.read_table
    with monkeypatch.context() as patch:
        patch.setattr(
            module.table, "read_table", lambda *given: read(Path(write(Path(table), "other")), *given[1:])
        )
        with pytest.raises(ExternalError, match="changed while it was read"):
            prepare(source, settings)
    write(Path(table))
    assert run(table, settings).made is True


def flipped(path: Path, at: int) -> None:
    """Flip one bit of a file, which stays the same file."""
    content = bytearray(path.read_bytes())
    content[at // 8] ^= 1 << at % 8
    path.write_bytes(content)
    reviews._load.cache_clear()  # as in another process


@pytest.mark.parametrize("name", ["table", "words", "note"])
def test_one_wrong_bit_is_noticed_and_the_table_is_made_again(
    settings: Settings, tmp_path: Path, name: str
) -> None:
    """Two bits in five of the table, and half of those in the words, gave other reviews under the same digest."""
    table, random_ = rejecting(tmp_path / "mine.csv"), random.Random(9001)
    first = run(table, settings)
    [note] = first.table.parent.glob(".*.json")
    path = {"table": first.table, "words": reviews.vocabulary_file(first.table), "note": note}[name]
    content, words = reviews.read(first.table), reviews.read_vocabulary(first.table)
    right, noticed = path.read_bytes(), 0
    for _ in range(200):
        flipped(path, random_.randrange(8 * len(right)))
        found = find_prepared(table, settings)
        found = found if found is not None and reviews.find(found.table) else None
        noticed += found is None
        if found is None and noticed < 5:
            assert run(table, settings) == first
        if found is not None or noticed < 5:
            assert found in (None, replace(first, made=False))
            assert same(reviews.read(first.table), content)
            assert reviews.read_vocabulary(first.table).words == words.words
        path.write_bytes(right)
    assert noticed >= (150 if name == "table" else 200), "some bits of a Parquet file are read by nobody"


@pytest.mark.parametrize("dataset", ["sample", "table"])
def test_a_table_that_is_looked_for_by_its_digest_is_made_again_only_from_a_known_source(
    table: str, settings: Settings, dataset: str
) -> None:
    first = run("sample" if dataset == "sample" else table, settings)
    flipped(reviews.vocabulary_file(first.table), 8 * 3)
    found = kept_table(first.name, first.digest, settings)
    assert (found, reviews.find(found)) == (first.table, dataset == "sample")


@pytest.mark.parametrize("at", [0, 1])
def test_a_damaged_download_is_fetched_again_and_nothing_is_made_of_it(
    settings: Settings, tmp_path: Path, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = imdb_mirror(settings, tmp_path)
    monkeypatch.setattr(module.imdb, "check", lambda *_: None)  # of its counts
    first = prepare(fetch("imdb", mirror), mirror)
    source = fetch("imdb", mirror)
    flipped(source.files[at], 8 * 5)
    first.table.unlink()
    with pytest.raises(ExternalError):  # damaged after it was fetched
        prepare(source, mirror)
    assert not first.table.exists()
    again = fetch("imdb", mirror)
    assert (again.fetched, prepare(again, mirror)) == (True, first)


def test_the_version_of_the_code_is_of_the_content_of_its_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Red if an edit of the code that makes tables would leave those made by the code before."""
    before = module._code_version.__wrapped__()
    edited = tmp_path / "table.py"
    edited.write_bytes(Path(str(module.table.__file__)).read_bytes())
    monkeypatch.setattr(module.table, "__file__", str(edited))
    assert module._code_version.__wrapped__() == before
    edited.write_bytes(edited.read_bytes() + b"\n")
    assert module._code_version.__wrapped__() != before


def test_a_table_that_was_made_is_kept_whatever_its_file_holds_now(table: str, settings: Settings) -> None:
    options = TableOptions()
    first = run(table, settings)
    write(Path(table), word="play")
    second = run(table, settings)
    assert second.made and second.digest != first.digest
    write(Path(table))
    assert run(table, settings) == replace(first, made=False)  # content that comes back finds its own
    Path(table).unlink()
    for made in (first, second):
        assert find_kept(table, made.digest, settings, options) == replace(made, made=False, joined=None)
    assert find_kept(table, "0" * 64, settings, options) is None
    first.table.unlink()
    assert find_kept(table, first.digest, settings, options) is None


BAD_ROW = "film,perhaps\n"


def rejecting(path: Path) -> str:
    write(path, n=100)
    path.write_text(path.read_text(encoding="utf-8") + BAD_ROW, encoding="utf-8")
    return str(path)


def test_rejected_rows_are_counted_and_written_into_the_data_folder(settings: Settings, tmp_path: Path) -> None:
    table = rejecting(tmp_path / "mine.csv")
    rejected = run(table, settings).rejected
    (file,) = (settings.data_dir / "datasets" / "mine" / "rejects").iterdir()
    assert str(rejected) == f"1 of 101 rows rejected (1 unknown label): {file}"
    assert json.loads(file.read_text()) == {"row": 101, "line": 102, "reason": "unknown label", "value": "perhaps"}
    assert file.stat().st_mode & 0o777 == 0o600
    again = run(table, settings)
    assert (again.made, again.rejected) == (False, rejected)
    file.unlink()
    assert (run(table, settings).made, file.exists()) == (True, True)


def test_the_check_makes_the_table_that_the_training_finds_and_nothing_of_a_built_in_dataset(
    table: str, settings: Settings
) -> None:
    check_data("sample", settings)
    assert not settings.data_dir.exists()
    check_data(table, settings)
    assert run(table, settings).made is False


def test_a_training_is_known_again_without_the_file_of_rejects(settings: Settings, tmp_path: Path) -> None:
    """Red if whoever clears the rejects away makes the next scheduled training repeat the last one."""
    table = rejecting(tmp_path / "mine.csv")
    first = run(table, settings)
    assert first.rejected is not None
    Path(first.rejected.file).unlink()
    assert find_prepared(table, settings) == replace(first, made=False)


def test_rejects_of_the_last_ten_readings_are_kept_refused_ones_too(settings: Settings, tmp_path: Path) -> None:
    """Red if a night's rejects were gone when somebody looks in the morning after the next."""
    table = Path(write(tmp_path / "mine.csv", n=200))
    good, told = table.read_text(encoding="utf-8"), []
    for night in range(13):
        table.write_text(good + f"a film,perhaps{night}\n" * (1 if night else 3), encoding="utf-8")
        if night == 0:
            with pytest.raises(UsageError):
                run(str(table), settings)
        elif (rejected := run(str(table), settings).rejected) is not None:
            told.append(Path(rejected.file))
        if night == 1:
            assert len(list(told[0].parent.iterdir())) == 2
    kept = set(told[0].parent.iterdir())
    assert kept == set(told[-10:])
    assert all(f"perhaps{night}" in each.read_text() for night, each in enumerate(told, 1) if each in kept)
    assert {each.stat().st_mode & 0o777 for each in kept} == {0o600}


def test_other_options_make_another_table(table: str, settings: Settings) -> None:
    """Red if a table that was read with other columns or labels were found in its place."""
    swapped = TableOptions(labels={"0": 1, "1": 0})
    first = run(table, settings)
    second = prepare(fetch(table, settings, options=swapped), settings)
    assert second.made and second.digest != first.digest
    assert prepare(fetch(table, settings, options=swapped), settings) == replace(second, made=False)


def test_leftovers_of_a_killed_run_are_removed(table: str, settings: Settings) -> None:
    folder = settings.data_dir / "datasets" / "mine"
    folder.mkdir(parents=True)
    (folder / ".abc.parquet.12345678.partial").write_bytes(b"half")
    run(table, settings)
    assert not list(folder.glob(".*.partial"))


def test_the_sample_needs_no_file_and_has_its_promised_size(settings: Settings) -> None:
    content = reviews.read(run("sample", settings).table)
    assert (len(content.of("train")), len(content.of("test"))) == (4_800, 1_000)
    assert run("sample", settings).made is False


def imdb_mirror(settings: Settings, folder: Path) -> Settings:
    """Settings that name an IMDB of four reviews, as a mirror."""
    x = np.empty(2, object)
    x[:] = [[1], [2]]
    np.savez(folder / "imdb.npz", x_train=x, y_train=[0, 1], x_test=x, y_test=[0, 1])
    (folder / "words.json").write_text('{"good": 1, "bad": 2}', encoding="utf-8")
    fields = {}
    for field, name in (("imdb", "imdb.npz"), ("word_index", "words.json")):
        fields[f"{field}_url"] = str(folder / name)
        fields[f"{field}_sha256"] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    return settings.model_copy(update=fields)


class Planted:
    """Makes a folder as soon as it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple[Callable[..., None], tuple[str]]:
        return os.mkdir, (str(self._marker),)


@pytest.mark.parametrize("when", ["at the mirror", "in the folder of downloads", "after the check of its hash"])
def test_reviews_without_the_expected_hash_are_never_unpickled(
    settings: Settings, tmp_path: Path, when: str
) -> None:
    mirror = imdb_mirror(settings, tmp_path)
    reviews = imdb.addresses(mirror)[0].target(mirror.data_dir)
    bad, marker = np.empty(2, object), tmp_path / "marker"
    bad[0] = Planted(marker)

    def plant(file: Path) -> None:
        np.savez(file, x_train=bad, y_train=[0, 1], x_test=bad, y_test=[0, 1])

    if when == "at the mirror":
        plant(tmp_path / "imdb.npz")
        with pytest.raises(ExternalError, match="is not the expected file"):
            prepare(fetch("imdb", mirror), mirror)
    elif when == "in the folder of downloads":
        fetch("imdb", mirror)
        plant(reviews)
        with pytest.raises(ExternalError, match="expected 25,000 reviews"):  # of the mirror's, fetched again
            prepare(fetch("imdb", mirror), mirror)
    else:
        source = fetch("imdb", mirror)
        plant(reviews)
        with pytest.raises(ExternalError, match="changed while it was read"):
            prepare(source, mirror)
    assert not marker.exists()
    plant(tmp_path / "alive.npz")
    with np.load(tmp_path / "alive.npz", allow_pickle=True) as arrays:
        assert len(arrays["x_train"]) == 2
    assert marker.exists()


def test_the_source_of_tables_is_known_by_their_contents_and_names(settings: Settings, tmp_path: Path) -> None:
    """Red if a rejected row or a place could name a file that is called otherwise now."""
    folder = tmp_path / "tables"
    folder.mkdir()
    digests = []
    for name, word in (("b.csv", "film"), ("c.csv", "film"), ("c.csv", "play"), (".c.csv", "film")):
        write(folder / name, word)
        digests.append(fetch(str(folder), settings).digest)
    (folder / "b.csv").rename(folder / "a.csv")
    assert len({*digests, fetch(str(folder), settings).digest}) == 4  # a hidden file changes nothing
    assert digests[2] == digests[3]


@pytest.mark.parametrize(
    ("dataset", "name"),
    [
        ("imdb", "imdb"),
        ("/data/My_Reviews (2).PARQUET", "my-reviews-2"),
        ("SAMPLE.parquet", "sample-table"),
        ("./imdb", "imdb-table"),
        ("--.csv", "table"),
        ("отзывы.csv", "table-370e6c"),
        ("crítica.csv", "critica"),
        ("a.b.csv", "a-b"),
        ("Straße.csv", "strasse"),
        ("parts.parquet/", "parts"),
        ("/data/tables/../tables/.", "tables"),
        ("/", "table"),
    ],
)
def test_a_dataset_is_named_by_its_file_or_folder(dataset: str, name: str) -> None:
    assert dataset_name(dataset) == name


@pytest.mark.parametrize("dataset", ["nothing", "nowhere.csv", "", "IMDB", "~nosuchuser/mine.csv"])
def test_an_unknown_dataset_is_refused_with_what_there_is(dataset: str, settings: Settings) -> None:
    with pytest.raises(UsageError, match="Give imdb, sample, or the path"):
        fetch(dataset, settings)


def in_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "tables"
    folder.mkdir()
    write(folder / "a.csv")
    return folder


def test_a_file_that_is_added_is_read_and_rejects_name_it(settings: Settings, tmp_path: Path) -> None:
    folder = in_folder(tmp_path)
    first = run(str(folder), settings)
    rejecting(folder / "b.csv")
    second = run(str(folder), settings)
    assert (len(reviews.read(first.table)), len(reviews.read(second.table))) == (10, 100)
    assert second.rejected is not None and (second.rejected.rows, second.rejected.reasons) == (
        111, {"unknown label": 1},
    )  # fmt: skip
    assert json.loads(Path(second.rejected.file).read_text())["source"] == "b.csv"
    assert second.joined is not None and second.joined.repeated == 10
    assert run(str(folder), settings) == replace(second, made=False)


@pytest.mark.parametrize("form", [1, 2])
def test_a_table_of_an_earlier_format_is_split_anew_and_that_is_told_once(
    settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture, form: int
) -> None:
    """As format 2 split it, by the hash of the raw text: by hand, a tenth on another side than now."""
    first = run(write(tmp_path / "mine.csv", "Scene!", 100), settings)
    assert caplog.text == ""
    now = pq.read_table(first.table)
    ids, splits = now["review_id"].to_pylist(), now["split"].to_pylist()
    assert now["words"].to_pylist() == sorted(word_hash(f"scene scene {each}") for each in range(100))
    before = ["test" if int(name[5:], 16) < 0.2 * 2**64 else "train" for name in ids]
    moved = sum(one != other for one, other in zip(before, splits, strict=True))
    old = now.set_column(1, "split", pa.array(before)).drop_columns(["words"])
    first.table.unlink()
    metadata = {"format": "2"} if form == 2 else {}
    pq.write_table(old.replace_schema_metadata(metadata), first.table.with_name(f"{'0' * 64}.parquet"))
    assert run(str(tmp_path / "mine.csv"), settings).digest == first.digest
    (told,) = caplog.messages
    assert moved > 0 and told.startswith("Split anew") and f" {moved} of 100 texts" in told
    write(tmp_path / "mine.csv", "Scene!", 101)
    run(str(tmp_path / "mine.csv"), settings)
    assert len(caplog.messages) == 1


def test_equal_content_in_other_files_is_the_same_data_and_its_places_are_of_now(
    settings: Settings, tmp_path: Path
) -> None:
    """Red if a person is led to a row that holds another text."""
    folder = in_folder(tmp_path)
    first, before = run(str(folder), settings), (folder / "a.csv").read_text()
    places = reviews.of_test(first.table, "place")
    lines = before.splitlines()
    (folder / "a.csv").write_text("\n".join([lines[0], *reversed(lines[1:])]) + "\n")
    second = run(str(folder), settings)
    assert second.digest == first.digest and (now := reviews.of_test(first.table, "place")) != places
    for name, place in now.items():
        line = int(place.removeprefix("a.csv line "))
        assert text_id((folder / "a.csv").read_text().splitlines()[line - 1].partition(",")[0]) == name
    (folder / "a.csv").write_text(before)
    run(str(folder), settings)
    assert reviews.of_test(first.table, "place") == places
