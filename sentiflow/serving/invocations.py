"""What clients of MLflow's scoring server send to ``/invocations``, read as texts."""

import csv
import io
import sys
from itertools import islice
from typing import Any

from fastapi import HTTPException
from pydantic_core import from_json

from sentiflow.serving.schemas import outside_strings

PROTOCOL = "3.17.2"
"""The MLflow whose requests are read and whose answers are given."""
_FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
csv.field_size_limit(sys.maxsize)  # the body's own limit is the lower one


def texts_of(body: bytearray, content_type: str, max_characters: int, max_texts: int) -> list[str]:
    """Read the column ``text`` of a table, or a list of texts, as MLflow does; blank texts are texts.

    Raises:
        HTTPException: 400 for another body, 415 for another type than JSON and CSV in UTF-8.
    """
    kind, *parameters = content_type.lower().replace(" ", "").replace('"', "").split(";")
    if kind not in ("application/json", "text/csv", "") or any(each != "charset=utf-8" for each in parameters):
        raise HTTPException(415, "Expected application/json or text/csv, in UTF-8.")
    found = _of_csv(body, max_texts) if kind == "text/csv" else _of_json(body, max_texts)
    if len(found) > max_texts:
        raise HTTPException(400, f"Expected at most {max_texts} texts.")
    for number, text in enumerate(found, 1):
        if not isinstance(text, str):
            raise HTTPException(400, f"Text {number} is missing, or not a string.")
        if len(text) > max_characters:
            raise HTTPException(400, f"Text {number} has more than {max_characters} characters.")
    return found


def _of_json(body: bytearray, max_texts: int) -> list[Any]:
    if outside_strings(body, 64 * max_texts + 1_024) is None:
        raise HTTPException(400, f"Too much besides the texts; expected at most {max_texts} texts.")
    try:
        given = from_json(bytes(body))
    except ValueError as err:
        raise HTTPException(400, f"Expected JSON: {err}.") from err
    forms = [name for name in _FORMS if isinstance(given, dict) and name in given]
    if len(forms) != 1:
        raise HTTPException(400, f"Expected an object with exactly one of {', '.join(_FORMS)}.")
    texts = _of_form(forms[0], given[forms[0]])
    if texts is None:
        raise HTTPException(400, f"Expected texts in the column text of {forms[0]}, or a list of texts in inputs.")
    return texts


def _of_form(form: str, given: Any) -> list[Any] | None:
    """What stands for texts, or None where the form has another shape."""
    match form, given:
        case "dataframe_split", {"columns": [*columns], "data": [*rows], **more} if columns.count("text") == 1:
            whole = all(isinstance(row, list) and len(row) == len(columns) for row in rows)
            return [row[columns.index("text")] for row in rows] if whole and not more.keys() - {"index"} else None
        case "dataframe_records", [*records]:
            return [record.get("text") for record in records] if all(map(_is_record, records)) else None
        case "instances" | "inputs", {"text": [*texts]}:
            return texts
        case "instances" | "inputs", [*items]:
            return [item.get("text") if _is_record(item) else item for item in items]
    return None


def _is_record(given: Any) -> bool:
    return isinstance(given, dict)


def _of_csv(body: bytearray, max_texts: int) -> list[Any]:
    try:
        reader = csv.DictReader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True)
        rows = list(islice(reader, max_texts + 1))
    except (UnicodeDecodeError, csv.Error) as err:
        raise HTTPException(400, f"Expected CSV in UTF-8: {err}.") from err
    if (reader.fieldnames or []).count("text") != 1 or any(None in row for row in rows):
        raise HTTPException(400, "Expected CSV with a header, a column text, and no more fields in a row.")
    return [row["text"] or None for row in rows]
