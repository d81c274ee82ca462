"""Reads a sheet for ``sentiflow.data.readers.Sheet``, a line of JSON a row, in a process whose memory is bounded.

A file of a few bytes may name a cell in the last row and column, and the reader makes room for all before it.
"""

import json
import resource
import sys
from typing import Any


def main(path: str, wanted: str, memory: str) -> None:
    import python_calamine as calamine

    resource.setrlimit(resource.RLIMIT_AS, (int(memory), int(memory)))
    try:
        with calamine.load_workbook(path) as book:
            kinds = calamine.SheetTypeEnum.WorkSheet, calamine.SheetVisibleEnum.Visible
            names = [each.name for each in book.sheets_metadata if (each.typ, each.visible) == kinds]
            name = wanted or next(iter(names), "")
            sheet = book.get_sheet_by_name(name) if name in book.sheet_names else None
            _say({"name": name, "names": names, "rows": sheet.total_height if sheet else None})
            for row in sheet.iter_rows() if sheet else ():
                _say([_text(value) for value in row])
    except calamine.CalamineError as err:
        _say({"problem": str(err)})


def _say(line: object) -> None:
    sys.stdout.write(json.dumps(line) + "\n")


def _text(value: Any) -> str:
    """A cell as a CSV would have it."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


if __name__ == "__main__":
    main(*sys.argv[1:])
