"""Tables in the forms that people have them in: columns of other names, workbooks, JSON, archives and folders."""

import bz2
import gzip
import json
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sentiflow.data.inputs import open_input
from sentiflow.data.table import Table, TableOptions, read_table
from sentiflow.errors import UsageError

ROWS = [(f"Guter Film {k}, 很好吃" if k % 2 else f"Schlechter Film {k}", k % 2) for k in range(40)]
CSV = "text,label\n" + "".join(f'"{text}",{label}\n' for text, label in ROWS)


def read(path: Path, **options: object) -> Table:
    return read_table(path, TableOptions.model_validate(options), path.parent / "rejects")


def texts(found: Table) -> list[tuple[str, int]]:
    return [(row.text, row.label) for row in found.rows]


def refused(path: Path, **options: object) -> UsageError:
    with pytest.raises(UsageError) as caught:
        read(path, **options)
    return caught.value


def workbook(path: Path, *sheets: tuple[str, list[list[object]]], extra: str = "") -> Path:
    """An .xlsx with texts in its cells, as Excel's own XML has them."""
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    kinds = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    numbers = range(1, len(sheets) + 1)
    listed = "".join(f'<sheet name="{sheets[k - 1][0]}" sheetId="{k}" r:id="rId{k}"/>' for k in numbers)
    targets = (
        f'<Relationship Id="rId{k}" Type="{kinds}/worksheet" Target="worksheets/sheet{k}.xml"/>' for k in numbers
    )
    head, document = f'<Relationships xmlns="{package}/relationships">', f"{kinds}/officeDocument"
    files = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types"/>',
        "_rels/.rels": f'{head}<Relationship Id="r" Type="{document}" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{kinds}"><sheets>{listed}</sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f"{head}{''.join(targets)}</Relationships>",
    }
    for k, (_, content) in enumerate(sheets, 1):
        rows = "".join(f"<row>{''.join(map(cell, row))}</row>" for row in content)
        sheet = f'<worksheet xmlns="{main}"><sheetData>{rows}{extra}</sheetData></worksheet>'
        files[f"xl/worksheets/sheet{k}.xml"] = sheet
    return archive(path, files)


def cell(value: object) -> str:
    return f"<c><v>{value}</v></c>" if isinstance(value, int) else f'<c t="inlineStr"><is><t>{value}</t></is></c>'


def open_document(path: Path, repeated: int = 1) -> Path:
    """An .ods; the cell of each label stands for so many."""
    names = "".join(
        f' xmlns:{each}="urn:oasis:names:tc:opendocument:xmlns:{each}:1.0"' for each in ("office", "table", "text")
    )
    kind = 'office:value-type="string"'
    many = f'table:number-rows-repeated="{repeated}"'
    rows = "".join(
        f"<table:table-row {many}><table:table-cell {kind}><text:p>{text}</text:p></table:table-cell>"
        f'<table:table-cell {kind} table:number-columns-repeated="{repeated}"><text:p>{label}</text:p>'
        "</table:table-cell></table:table-row>"
        for text, label in [("text", "label"), *ROWS]
    )
    sheet = f'<office:spreadsheet><table:table table:name="S">{rows}</table:table></office:spreadsheet>'
    content = f"<office:document-content{names}><office:body>{sheet}</office:body></office:document-content>"
    kind = "application/vnd.oasis.opendocument.spreadsheet"
    return archive(path, {"mimetype": kind, "content.xml": content, "META-INF/manifest.xml": "<manifest/>"})


def sheet_rows() -> list[list[object]]:
    return [["text", "label"], *map(list, ROWS)]


def archive(path: Path, files: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in files.items():
            file.writestr(name, content)
    return path


def as_array(path: Path) -> Path:
    rows = [{"text": text, "label": label} for text, label in ROWS]
    path.write_text(json.dumps(rows, indent=1, ensure_ascii=False), encoding="utf-8")
    return path


def packed(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


FORMS: dict[str, Callable[[Path], Path]] = {
    "a.xlsx": lambda path: workbook(path, ("Januar", sheet_rows())),
    "a.ods": open_document,
    "a.json": as_array,
    "a.jsonl": as_array,
    "a.csv.gz": lambda path: packed(path, gzip.compress(CSV.encode())),
    "a.csv.bz2": lambda path: packed(path, bz2.compress(CSV.encode())),
    "a.csv.xz": lambda path: packed(path, lzma.compress(CSV.encode())),
}


@pytest.mark.parametrize("name", FORMS)
def test_each_form_is_read_as_the_csv_of_its_rows(tmp_path: Path, name: str) -> None:
    found = read(FORMS[name](tmp_path / name))
    assert texts(found) == ROWS and found.joined.unread == []
    assert (
        found.rows[1].place == f"{name} {'line 3' if '.csv' in name or name in ('a.xlsx', 'a.ods') else 'row 2'}"
    )


def test_a_json_array_is_read_across_the_blocks_that_it_comes_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sentiflow.data.readers._BLOCK", 7)
    assert texts(read(as_array(tmp_path / "a.json"))) == ROWS


def test_an_archive_gives_its_tables_with_their_names(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", {"2026-01/t.csv": CSV, "readme.md": "x", "__MACOSX/._t.csv": "x"})
    found = read(path)
    assert texts(found) == ROWS
    assert found.rows[0].place == "2026-01/t.csv line 2" and found.joined.unread == ["readme.md"]


def test_a_folder_gives_the_tables_of_its_folders_and_tells_what_it_does_not_read(tmp_path: Path) -> None:
    (folder := tmp_path / "all").mkdir()
    for month in ("2026-01", "2026-02"):
        (folder / month).mkdir()
        (folder / month / "t.csv").write_text(CSV.replace("Film", month), encoding="utf-8")
    archive(folder / "2025.zip", {"t.csv": CSV, "x.doc": "x"})
    workbook(folder / "2024.xlsx", ("A", [["text", "label"], ["Gute alte Zeit", 1]]), ("B", [["x"]]))
    (folder / "notes.docx").touch()
    found = read(folder)
    assert (len(found.rows), found.joined.tables) == (121, 4)
    places = [row.place for row in found.rows]
    assert places[0] == "2024.xlsx (A) line 2" and places[1] == "2025.zip/t.csv line 2"
    assert places[-1] == "2026-02/t.csv line 41"
    assert found.joined.unread == ["2025.zip/x.doc", "notes.docx", "2024.xlsx (A): sheet B"]


def test_a_folder_of_texts_by_label_keeps_the_split_that_its_folders_say(tmp_path: Path) -> None:
    for name, text in {
        "train/pos/1.txt": "good", "train/neg/1.txt": "bad", "test/pos/1.txt": "fine", "test/neg/1.txt": "sad",
        "train/unsup/1.txt": "?", "README": "x",
    }.items():  # fmt: skip
        (path := tmp_path / "imdb" / name).parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    found = read(tmp_path / "imdb")
    assert [(row.text, row.label, row.split, row.place) for row in found.rows] == [
        ("sad", 0, "test", "test/neg/1.txt"),
        ("fine", 1, "test", "test/pos/1.txt"),
        ("bad", 0, "train", "train/neg/1.txt"),
        ("good", 1, "train", "train/pos/1.txt"),
    ]
    assert found.joined.unread == ["README", "train/unsup/1.txt"]


def test_folders_of_texts_with_other_names_are_read_by_their_meaning(tmp_path: Path) -> None:
    for k, (text, label) in enumerate(ROWS):
        (folder := tmp_path / "t" / ("gut" if label else "übel")).mkdir(parents=True, exist_ok=True)
        (folder / f"{k}.txt").write_text(text, encoding="utf-8")
    assert refused(tmp_path / "t").hint == "Say what the texts in gut, übel are: --labels good=1,bad=0"
    assert sorted(texts(read(tmp_path / "t", labels={"gut": 1, "übel": 0}))) == sorted(ROWS)


def test_a_sheet_is_chosen_by_its_name(tmp_path: Path) -> None:
    path = workbook(tmp_path / "a.xlsx", ("Notes", [["x"]]), ("Rows", sheet_rows()))
    assert texts(read(path, sheet="Rows")) == ROWS
    assert str(refused(path, sheet="No").args[0]) == f"{path}: no sheet No; there are: Notes, Rows."


def test_columns_of_texts_are_joined_and_an_empty_one_is_left_out(tmp_path: Path) -> None:
    (path := tmp_path / "in.csv").write_text('title,body,"title,body"\nA,b,c\n,b,c\n,,c\n')
    both = tmp_path / "in.jsonl"
    both.write_text('{"title": "A", "body": "b"}\n{"title": null, "body": "b"}\n{"title": ""}\n')
    pq.write_table(
        pa.table({"title": ["A", None, ""], "body": ["b", "b", None]}), parquet := tmp_path / "in.parquet"
    )
    for file in (path, both, parquet):
        (source := open_input(file)).select("title, body")
        (chunk,) = source.chunks()
        assert chunk.texts == ["A b", "b"] and [reject.reason for reject in chunk.rejects] == ["no text"]
    (source := open_input(path)).select("title,body")
    assert [chunk.texts for chunk in source.chunks()] == [["c", "c", "c"]]


def test_a_column_of_another_usual_name_is_told_and_two_of_them_are_refused(tmp_path: Path) -> None:
    (path := tmp_path / "in.csv").write_text(CSV.replace("text,label", "Review,stars"), encoding="utf-8")
    found = read(path)
    assert texts(found) == ROWS
    assert found.joined.columns == ["Taken for the column text: Review", "Taken for the column label: stars"]
    path.write_text("review,body,label\na,b,1\n")
    assert str(refused(path).args[0]) == f"{path}: no column text, and review or body may be it."


SPARSE = '<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>'


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("a.xlsx", lambda path: packed(path, b"PK\x03\x04"), "cannot be read as a workbook"),
        ("a.xlsx", lambda path: workbook(path, ("A", sheet_rows()), extra=SPARSE), "MiB of memory"),
        ("a.ods", lambda path: open_document(path, 10**9), "cannot be read"),
        ("a.zip", lambda path: packed(path, b"PK\x03\x04"), "cannot be read as an archive"),
        ("a.zip", lambda path: archive(path, {"../t.csv": CSV}), "is no name of a file"),
        ("a.zip", lambda path: archive(path, {"readme": "x"}), "no table in this archive"),
        ("a.csv.gz", lambda path: packed(path, gzip.compress(CSV.encode())[:-20]), "cannot be unpacked"),
        ("a.json", lambda path: packed(path, b'[{"text": "a"}, {"text'), "not JSON behind object 1"),
    ],
)
def test_what_is_broken_or_a_bomb_is_refused(
    tmp_path: Path, name: str, make: Callable[[Path], Path], message: str
) -> None:
    assert message in str(refused(make(tmp_path / name)).args[0])


@pytest.mark.parametrize("name", ["a.csv.gz", "a.zip"])
def test_what_unpacks_to_more_than_any_table_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("sentiflow.data.packed.check_unpacked.__defaults__", (2**10, 100, "bytes"))
    big = "text,label\n" + "a,1\n" * 100_000
    path = (
        archive(tmp_path / name, {"t.csv": big})
        if name == "a.zip"
        else packed(tmp_path / name, gzip.compress(big.encode()))
    )
    assert "bytes unpack to" in str(refused(path).args[0])


def test_the_tables_of_a_folder_are_scored_with_the_name_of_each(tmp_path: Path, job: Callable) -> None:
    (folder := tmp_path / "in" / "2026").mkdir(parents=True)
    (folder / "t.csv").write_text("review,id\ngood film,1\n,2\n", encoding="utf-8")
    as_array(tmp_path / "in" / "a.json")
    done = job(tmp_path / "in")
    assert len(done.scored) == 41
    assert [row["source"] for row in done.scored] == ["2026/t.csv", *["a.json"] * 40]
    assert [(row["source"], row["line"]) for row in done.rejects] == [("2026/t.csv", 3)]


def test_a_missing_reader_is_said_with_what_installs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sentiflow.environment.lacking", lambda _: "python-calamine>=0.6")
    path = workbook(tmp_path / "a.xlsx", ("A", sheet_rows()))
    assert "pip install 'sentiflow[excel]'" in str(refused(path).args[0])
