"""The frame of the fault campaign: a case promises something, a try of it raises when the promise is broken."""

import json
import platform
import subprocess
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from benchmarks.machine import describe
from benchmarks.table import put_into
from tests.faults.worlds import Worlds
from tests.world import ROOT

PAGE = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- tries: begin -->", "<!-- tries: end -->"
RESULTS = Path(__file__).with_name("results.jsonl")  # of this machine: git ignores it


@dataclass(frozen=True)
class Red:
    """A fault put into a copy of the code, which the case must find.

    Attributes:
        what: the fault, in words.
        file: of the product, from its root.
        old: stands there once.
        new: stands there instead.
        seed: of a try that finds it.
        says: stands in the message of the broken promise; where a race decides, one of several, with | between.
    """

    what: str
    file: str
    old: str
    new: str
    says: str
    seed: int = 0


@dataclass(frozen=True)
class Case:
    """A fault, and what must hold.

    Attributes:
        name: for the command line.
        promise: one plain sentence.
        how: it is tested, in sentences.
        attempt: one try: given worlds, a folder of its own and a seed. It gives what it counted, and raises
            if the promise is broken.
        short, long: how many tries in either form; what a story tests as well has none in the short one.
        reds: faults that it was seen to find.
    """

    name: str
    promise: str
    how: str
    attempt: Callable[[Worlds, Path, int], dict[str, int]]
    short: int
    long: int
    reds: tuple[Red, ...]


@dataclass(frozen=True)
class Result:
    """One try."""

    case: str
    seed: int
    passed: bool
    found: str
    counted: dict[str, int]
    seconds: float
    commit: str
    at: str
    machine: str


def attempt(case: Case, seed: int, worlds: Worlds) -> Result:
    """Try a case once, in a folder that goes afterwards."""
    began, found, counted = time.monotonic(), "", {}
    with tempfile.TemporaryDirectory(prefix=f"sentiflow-{case.name}-", ignore_cleanup_errors=True) as folder:
        try:
            counted = case.attempt(worlds, Path(folder), seed)
        except (Exception, pytest.skip.Exception) as err:  # noqa: BLE001 - whatever it is, the next try follows
            traceback.print_exc()
            found = f"{type(err).__name__}: {err}".strip().replace(f"{folder}/", "")
            if len(found) > 2_000:  # outputs tell what broke at their end
                found = f"{found[:500]} ... {found[-1_500:]}"
    return Result(
        case.name, seed, not found, found, counted, round(time.monotonic() - began, 1), commit(),
        datetime.now(UTC).isoformat(timespec="seconds"), machine(),
    )  # fmt: skip


def commit() -> str:
    """The commit that is tried; with a + when files differ from it."""
    tried = ["flows", "tasks", "sentiflow", "tests"]
    changed = _git("status", "--porcelain", "--", *tried)
    return f"{_git('rev-parse', '--short', 'HEAD')}{'+' if changed else ''}"


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def machine() -> str:
    """The processor, its cores, and the system."""
    return f"{describe().partition(', Python')[0]}, Python {platform.python_version()}, {platform.system()}"


def read_results() -> list[Result]:
    """All tries that were kept on this machine, oldest first."""
    lines = RESULTS.read_text(encoding="utf-8").splitlines() if RESULTS.exists() else []
    return [Result(**json.loads(line)) for line in lines]


def keep(result: Result) -> None:
    """Add a try to the file of results."""
    with RESULTS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(result)) + "\n")


def write_page(cases: Iterable[Case]) -> None:
    """Write the rows of all cases that were tried on this machine into the page."""
    table = render(cases, read_results(), PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0])
    put_into(PAGE, table, BEGIN, END)


def render(cases: Iterable[Case], results: list[Result], before: str = "") -> str:
    """The table and how each case is tested; of each seed the latest try counts, and a failed one is named.

    A case without results keeps its row of the table ``before``.
    """
    table, how = ["| | promise | tried | found |", "|---|---|---|---|"], []
    rows = {line.split("|")[1].strip(): line for line in before.splitlines() if line.startswith("|")}
    machine = before.partition("\nMachine: ")[2].partition(".\n")[0]
    for case in cases:
        own = [result for result in results if result.case == case.name]
        latest = {result.seed: result for result in own}
        if latest:
            tried = list(latest.values())
            rows[case.name] = f"| {case.name} | {case.promise} | {_tried(tried)} | {_found(own, latest)} |"
            machine = tried[-1].machine
        if case.name in rows:
            table.append(rows[case.name])
            how += ["", f"**{case.name}.** {case.how}"]
    return "\n".join([*table, "", f"Machine: {machine}.", "", "## How it is tested", *how])


def _tried(latest: list[Result]) -> str:
    counted: Counter[str] = Counter()
    for result in latest:
        counted.update(result.counted)
    what = ", ".join(f"{number:,} {name}" for name, number in counted.items())
    days = sorted({result.at[:10] for result in latest})
    when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    commits = ", ".join(dict.fromkeys(result.commit for result in latest))
    return f"{len(latest)} {'try' if len(latest) == 1 else 'tries'}: {what} ({when}, at {commits})"


def _found(own: list[Result], latest: dict[int, Result]) -> str:
    """What broke, equal reasons together, and whether the same seeds passed since."""
    told: dict[str, list[str]] = {}
    for result in own:
        if not result.passed:
            reason = " ".join(result.found.removeprefix("AssertionError:").split()).replace("|", "/")[:120]
            since = ", pass since" if latest[result.seed].passed else ""
            told.setdefault(f"at {result.commit}{since}: {reason or 'no message'}", []).append(str(result.seed))
    return "; ".join(f"seeds {', '.join(seeds)} {what}" for what, seeds in told.items()) or "nothing"
