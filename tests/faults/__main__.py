"""Run the fault campaign: ``make test-faults``, or ``python -m tests.faults F5 --tries 3``."""

import argparse
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.faults.campaign import Case, Red, attempt, keep, write_page
from tests.faults.cases import CASES
from tests.faults.worlds import Worlds
from tests.world import ROOT

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
_CODE = (
    "flows", "tasks", "sentiflow", "tests", "benchmarks", "pyproject.toml",
    "stack", "docker-compose.yml", "Dockerfile", "Makefile",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"all by default: {', '.join(CASES)}")
    parser.add_argument("--long", action="store_true", help="as many tries as the long form has: hours")
    parser.add_argument("--tries", type=int, help="how many tries of each case instead")
    parser.add_argument(
        "--minutes", type=float, default=math.inf, help="begin no try later; all the same by default"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the first try; the next ones follow (default 0)")
    parser.add_argument("--write", action="store_true", help="keep the results, and write docs/reliability.md")
    parser.add_argument("--red", action="store_true", help="put the known faults into copies of the code instead")
    parser.add_argument("--worlds", type=Path, help="keep the trained versions here, for the next time")
    chosen = parser.parse_args()
    chosen.until = time.monotonic() + 60 * chosen.minutes
    if unknown := set(chosen.cases) - set(CASES):
        parser.error(f"no such case: {', '.join(sorted(unknown))}; there are {', '.join(CASES)}")
    cases = [CASES[name] for name in chosen.cases] or [
        case for case in CASES.values() if case.short or chosen.long or chosen.tries or chosen.red
    ]
    for name in [name for name in os.environ if name.startswith("SENTIFLOW_")]:
        del os.environ[name]  # of whoever runs this
    with ExitStack() as stack:
        folder = chosen.worlds or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="sentiflow-worlds-"))
        )
        if chosen.red:
            failures = sum(not _finds(case, red, folder) for case in cases for red in case.reds)
        elif chosen.cases:
            failures = sum(_run(case, chosen, Worlds(folder)) for case in cases)
        else:
            failures = _run_in_two(cases, chosen, folder)
        if chosen.write and not chosen.red:
            write_page(CASES.values())
    sys.exit(1 if failures else 0)


def _run_in_two(cases: list[Case], chosen: argparse.Namespace, folder: Path) -> int:
    """Try every second case in another process meanwhile: they wait a lot. Gives 0 if nothing failed."""
    others = [case.name for case in cases[1::2]]
    again = [sys.executable, "-m", "tests.faults", *others, *sys.argv[1:], "--worlds", str(folder)]
    with subprocess.Popen(again) as other:
        failures = sum(_run(case, chosen, Worlds(folder)) for case in cases[::2])
    return failures + abs(other.returncode)


def _run(case: Case, chosen: argparse.Namespace, worlds: Worlds) -> int:
    """Try a case as often as was asked for; gives the number of failures."""
    failures = 0
    _say(f"{case.name}: {case.promise}")
    for seed in range(
        chosen.seed, chosen.seed + (chosen.tries or (case.long if chosen.long else case.short or 1))
    ):
        if time.monotonic() >= chosen.until:
            _say(f"  {case.name} seed {seed} and what follows: not tried, {chosen.minutes:g} minutes are over")
            break
        result = attempt(case, seed, worlds)
        counted = ", ".join(f"{number:,} {name}" for name, number in result.counted.items())
        state = "ok" if result.passed else "BROKEN"
        _say(f"  {case.name} seed {seed}: {state}, {result.seconds:.0f} s, {counted or result.found}")
        if chosen.write:
            keep(result)
        failures += not result.passed
    return failures


def _finds(case: Case, red: Red, worlds: Path) -> bool:
    """Whether a case fails, as it should, on a copy of the code with a fault in it."""
    with tempfile.TemporaryDirectory(prefix="sentiflow-red-") as folder:
        for name in _CODE:
            (shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile)(ROOT / name, Path(folder) / name)
        file = Path(folder) / red.file
        code = file.read_text(encoding="utf-8")
        if code.count(red.old) != 1:
            _say(f"{case.name}: {red.what}: the place in {red.file} has changed, the fault must be put in anew")
            return False
        file.write_text(code.replace(red.old, red.new), encoding="utf-8")
        again = [sys.executable, "-m", "tests.faults", case.name, "--tries", "1", "--seed", str(red.seed)]
        done = subprocess.run(
            [*again, "--worlds", str(worlds.resolve())], cwd=folder, env={**os.environ, "PYTHONPATH": folder},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    found = (
        done.returncode == 1
        and "BROKEN" in done.stdout
        and any(each in done.stdout for each in red.says.split(" | "))
    )
    _say(f"{case.name}: {red.what}: {'found' if found else 'NOT FOUND'}")
    if not found:
        _say(done.stdout + done.stderr[-3_000:])
    return found


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
