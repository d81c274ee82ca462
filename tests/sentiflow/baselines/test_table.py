import numpy as np

from sentiflow.baselines import HEADINGS, Row, markdown
from sentiflow.evaluation.metrics import Measured
from sentiflow.evaluation.statistics import compare

MEASURED = Measured(0.8325, 0.82783, 0.83708, 0.8325, 0.5, 0.4, 0.83, 0.83, 0.9, 0.12)
WORSE = compare(np.array([True] * 4 + [False] * 5 + [True]), np.array([True] * 9 + [False]))  # 1 gained, 5 lost
ROWS = [
    Row("tuned", MEASURED, None, 0.2691, 643_137, 42.04, 60_123.4),
    Row("majority", MEASURED, WORSE, 0.6931, 1, 0.0, 9_999_999.0),
]


def test_a_row_tells_its_figures_as_people_read_them() -> None:
    assert ROWS[0].cells == (
        "tuned", "83.25% (82.78% to 83.71%)", "", "", "0.2691", "643,137", "42.0 s", "60,123"
    )  # fmt: skip


def test_the_difference_has_its_sign_its_interval_and_the_test() -> None:
    # (1 - 5) / 10; McNemar's exact p of 1 in 6: 2 (1 + 6) / 64
    difference, p = ROWS[1].cells[2:4]
    assert difference == "-40.00 points (-72.01 to +8.73)"  # of tango(1, 5, 10)
    assert p == "0.219"


def test_a_p_value_too_small_for_a_number_is_no_zero() -> None:
    worse = compare(np.full(5_000, False), np.full(5_000, True))
    assert worse.p_value == 0.0
    assert Row("x", MEASURED, worse, 0.7, 1, 0.0, 1.0).cells[3] == "< 1e-99"


def test_a_model_that_reads_no_review_has_no_speed() -> None:
    assert Row("majority", MEASURED, WORSE, 0.6931, 1, 0.0, 5e8).cells[-1] == ""


def test_every_line_of_the_table_has_as_many_columns() -> None:
    lines = markdown(ROWS).splitlines()
    assert {line.count("|") for line in lines} == {len(HEADINGS) + 1}
    assert len(lines) == 4
