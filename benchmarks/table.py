"""The tables of the docs, made from what was measured."""

import statistics
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sentiflow.reports.one_run import STAGES
from sentiflow.settings import project_root

RECIPES_PAGE, SPEED_PAGE = (project_root() / "docs" / name for name in ("recipes.md", "speed.md"))
BEGIN, END = "<!-- make bench writes from here -->", "<!-- to here -->"
REVIEWS = 20_000  # learnt from in an epoch
WIDTH = 100  # of a line of the docs


def render(seconds: Mapping[str, Sequence[float]], limit: tuple[float, float], machine: str, date: str) -> str:
    """Markdown of the medians and their ratios.

    Args:
        seconds: of each thing measured, a value a round.
        limit: seconds of an epoch's recurrent products at the machine's rate: words alone, and with padding.
        machine: what it was measured on.
        date: and when.
    """
    at = {name: statistics.median(values) for name, values in seconds.items()}
    rounds = min(len(values) for values in seconds.values())
    epoch, other = at["core epoch"], {name: at[f"{name} epoch"] for name in ("keras", "torch")}
    lines = [
        "| an epoch of 20,000 reviews of 500 ids | seconds | reviews a second | this core is faster by |",
        "|---|---:|---:|---:|",
        _epoch("stock Keras", other["keras"], epoch),
        _epoch("PyTorch `nn.RNN`", other["torch"], epoch),
        _epoch("this core", epoch, None),
        f"| *limit: its recurrent products alone, words only, at the machine's rate* | *{limit[0]:.2f}* | | |",
        f"| *the same with all padding* | *{limit[1]:.2f}* | | |",
        "",
        "| | before | here | ratio |",
        "|---|---:|---:|---:|",
        _pair("`fit` of 5 epochs with validation, compilation included", at["keras fit"], at["core fit"]),
        _pair("the same, compiled code found on disk", at["keras fit"], at["core fit cached"]),
        _pair("scoring 25,000 padded reviews (before: `evaluate`)", at["keras evaluate"], at["scorer evaluate"]),
        _pair("the same from ids not yet padded", at["keras evaluate"], at["scorer evaluate_raw"]),
        _pair(
            "the main job, data and compiled code on disk (before: a plain Keras script)", at["script"], at["job"]
        ),
    ]
    stages = zip(*(seconds[f"job {stage}"] for stage in STAGES), strict=True)
    others = statistics.median(job - sum(each) for job, each in zip(seconds["job"], stages, strict=True))
    alone = at["alone imports"] + at["alone server"]
    lines += [
        "",
        "| stage of the main job | seconds |",
        "|---|---:|",
        *(f"| {stage} | {at[f'job {stage}']:.2f} |" for stage in STAGES),
        f"| others, and the end of the process | {others:.2f} |",
        "",
        f"Its start-up imports while Prefect's server starts: alone, the imports take {at['alone imports']:.2f} s "
        f"and the server {at['alone server']:.2f} s; together they take {at['job startup'] / alone:.2f} of the "
        "sum.",
    ]
    note = f"Medians of {rounds} rounds, all in turns, on {date}. {machine}."
    return "\n".join([*lines, "", note])


def _epoch(name: str, seconds: float, core: float | None) -> str:
    ratio = "" if core is None else f"{seconds / core:.1f} times"
    return f"| {name} | {seconds:.2f} | {REVIEWS / seconds:,.0f} | {ratio} |"


def _pair(what: str, before: float, here: float) -> str:
    return f"| {what} | {before:.2f} s | {here:.2f} s | {before / here:.1f} times faster |"


@dataclass(frozen=True)
class Result:
    """One recipe over several seeds; accuracies are fractions, of the test split unless said.

    Attributes:
        seconds: of one training alone, from process start to registered version.
    """

    recipe: str
    accuracies: Sequence[float]
    validation_mean: float
    mean: float
    sd: float
    seconds: float


def render_results(results: Sequence[Result], machine: str, date: str) -> str:
    """Markdown of what each recipe reaches, seed by seed."""
    seeds = len(results[0].accuracies)
    lines = [
        f"| recipe | test accuracy, seeds 0 to {seeds - 1} | mean | standard deviation | lowest | highest "
        "| validation, mean | one run, start to registered |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for of in results:
        each = ", ".join(f"{100 * accuracy:.2f}" for accuracy in of.accuracies)
        lines.append(
            f"| `{of.recipe}` | {each}% | {of.mean:.2%} | {100 * of.sd:.2f} points | {min(of.accuracies):.2%} "
            f"| {max(of.accuracies):.2%} | {of.validation_mean:.2%} | {of.seconds:.0f} s |"
        )
    return "\n".join([*lines, "", f"All seeds, none left out, on {date}. {machine}."])


def put_into(page: Path, table: str, begin_mark: str = BEGIN, end_mark: str = END) -> None:
    """Replace what stands between the marks; lines of prose are wrapped as the rest of the docs is.

    Raises:
        ValueError: a mark is missing.
    """
    before, begin, rest = page.read_text(encoding="utf-8").partition(begin_mark)
    _, end, after = rest.partition(end_mark)
    if not (begin and end):
        raise ValueError(f"{page} lacks {begin_mark!r} or {end_mark!r}")
    wrapper = textwrap.TextWrapper(WIDTH, break_long_words=False, break_on_hyphens=False)
    lines = [line if line.startswith("|") else wrapper.fill(line) for line in table.split("\n")]
    page.write_text("\n".join([before + begin, *lines, end + after]), encoding="utf-8")
