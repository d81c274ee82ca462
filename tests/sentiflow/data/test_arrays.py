import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from sentiflow.data.rows import numbers, strings


@pytest.mark.parametrize(
    "values", [[], [None], ["a", None, "", "é😀", "a\x00b"] * 5, [None] * 9, ["x" * 300_000, "y"]], ids=len
)
def test_strings_are_what_pyarrow_makes_of_them(values: list[str | None]) -> None:
    made = strings(values)
    made.validate(full=True)
    assert made.equals(pa.array(values, pa.string()))


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.float64])
def test_numbers_are_what_pyarrow_makes_of_them(kind: type) -> None:
    values = np.arange(10).astype(kind)[::3]  # not contiguous
    assert numbers(values).equals(pa.array(values))
    assert numbers(values[:0]).equals(pa.array(values[:0]))


def test_neither_imports_pandas() -> None:
    code = (
        "import sys, numpy as np\nfrom sentiflow.data.rows import numbers, strings\n"
        "strings(['a', None]), numbers(np.arange(3))\nsys.exit('pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
