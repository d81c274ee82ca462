"""Tests of how reports are written: what stands in them, not how it looks."""

import xml.etree.ElementTree as ElementTree

import pytest
from matplotlib.figure import Figure

from sentiflow.redaction import escape_markdown
from sentiflow.reports.blocks import MAX_ROWS, Block, Picture, Quote, Report, Section, Table, Text, svg
from tests.pages import Page, tables
from tests.sentiflow.reports.made import HOSTILE


@pytest.fixture(scope="module")
def figure() -> Figure:
    made = Figure(figsize=(2, 1))
    axes = made.subplots()
    axes.plot([0, 1], [0, 1], color="#0072b2")
    axes.set_title("curves < all & more")
    return made


def rendered(*blocks: Block) -> str:
    """A page whose only section holds these blocks."""
    return Report("t", [], [Section("s", blocks)]).page()


@pytest.fixture(scope="module")
def hostile(figure: Figure) -> Report:
    table = Table((HOSTILE, "n"), [(HOSTILE, "1")])
    section = Section(
        HOSTILE, [Text(HOSTILE), Text(HOSTILE, strong=True), table, Picture(figure, HOSTILE), Quote(HOSTILE)]
    )
    return Report(HOSTILE, [Text(HOSTILE, strong=True)], [section])


def test_markup_from_outside_is_text_on_the_page(hostile: Report) -> None:
    page = Page(hostile.page())
    assert {"script", "b", "i", "code"}.isdisjoint(page.names)
    # title, heading, lead, contents, heading of the section, two texts, a heading and a cell of the table, a quote
    assert page.words.count(HOSTILE) == 10


def test_a_page_refers_to_itself_and_to_pictures_inside_alone(hostile: Report) -> None:
    page = Page(hostile.page())
    (section,) = page.ids
    assert [each[:26] for each in page.references] == [f"#{section}"[:26], "data:image/svg+xml;base64,"]


def test_markup_from_outside_is_text_in_markdown() -> None:
    assert escape_markdown(HOSTILE).startswith(r"\<script>alert('x')\</script> & \<img src=")
    assert escape_markdown("a\nb\rc\\d") == r"a b c\\d"
    assert escape_markdown("# a # &lt; & b") == r"\# a # \&lt; & b"
    assert escape_markdown("__init__ snake_case _x_ ~~y~~") == r"\_\_init\_\_ snake_case \_x\_ \~\~y\~\~"


def test_every_line_of_a_markdown_table_has_as_many_cells(hostile: Report) -> None:
    assert tables(hostile.markdown()) == [[2, 2, 2]]


def test_a_long_table_is_cut_in_the_summary_and_whole_in_the_page() -> None:
    table = Table(("n",), [(str(i),) for i in range(MAX_ROWS + 3)])
    assert "... and 3 more in the page." in table.markdown()
    assert len(Page(rendered(table)).cells[0]) == MAX_ROWS + 4


def test_a_summary_fits_into_a_description_of_mlflow_and_says_what_it_leaves_out() -> None:
    sections = [Section(f"part {i}", [Text("x" * 1_000)]) for i in range(20)]
    told = Report("t", [Text("lead", strong=True)], sections).markdown("- a line")
    assert 6_000 < len(told) < 8_000
    assert told.startswith("**lead**\n\n### part 0\n")
    assert told.endswith("More stands in the HTML page.\n\n- a line\n")


def test_a_picture_is_whole_svg_in_the_ink_of_the_page(figure: Figure) -> None:
    content = svg(figure)
    ElementTree.fromstring(content.replace("<svg ", '<svg xmlns:x="x" ', 1))
    assert "currentColor" in content and "#000000" not in content
    assert "#0072b2" in content
