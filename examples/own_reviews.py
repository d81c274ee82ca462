"""Write the tables of the guide docs/guides/own-reviews.md: reviews.csv to train on, new-reviews.csv to score."""

import csv
import io
from pathlib import Path

from sentiflow.data.division import sample_rows

RATINGS = ("bad", "good")


def main() -> None:
    sample = sample_rows()
    rows = [[i, row.text, RATINGS[row.label]] for i, row in enumerate(sample[:1_402], 1)]
    rows[6][2] = "goood"  # line 8: a typo
    rows[20][1] = ""  # line 22: no text
    rows[34].insert(2, "4 stars")  # line 36: a field too many
    write("reviews.csv", ["id", "review", "rating"], rows)
    new = [[f"n{i}", row.text] for i, row in enumerate(sample[1_402:1_410], 1)]
    new[3][1] = ""
    write("new-reviews.csv", ["id", "review"], new)


def write(name: str, header: list[str], rows: list[list[object]]) -> None:
    stream = io.StringIO()
    csv.writer(stream).writerows([header, *rows])
    path, content = Path(name), stream.getvalue().encode()
    if path.exists() and path.read_bytes() != content:
        raise SystemExit(f"{name} is there already, with other content: go to another folder.")
    path.write_bytes(content)
    print(f"{name}: {len(rows)} rows")


if __name__ == "__main__":
    main()
