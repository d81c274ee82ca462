"""Mutation testing: ``make mutants``, or ``python -m tests.mutants sentiflow/locks.py --sample 20``.

A mutant is the code with one place changed: ``<`` for ``<=``, a condition turned round, a call left out. The
tests of its group run until one fails: the module's own file first, then the others; of each those that execute
the changed line come first. Each run is a fork of a process that has imported the libraries already, and works
in a copy of the code, so that the processes that tests start see it, too.
"""

import argparse
import ast
import fnmatch
import importlib
import json
import multiprocessing
import os
import pickle
import random
import resource
import shutil
import signal
import sys
import tempfile
import threading
import time
import tomllib
import traceback
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.world import ROOT

GROUPS = {  # modules, and the files of their tests
    "sentiflow/scoring/*.py": ["tests/sentiflow/scoring/"],
    "sentiflow/data/download.py": ["tests/sentiflow/data/test_download.py"],
    "sentiflow/data/imdb.py": ["tests/sentiflow/data/test_{imdb,archive,facts}.py"],
    "sentiflow/data/{inputs,rejects,rows,text_tables}.py": [
        "tests/sentiflow/data/test_{inputs,rejects,rows,folder,csv_table,json_lines,parquet_table}.py"
    ],
    "sentiflow/data/{division,facts,reviews,table,prepare}.py": [
        "tests/sentiflow/data/test_{facts,reviews,table,prepare,imdb}.py"
    ],
    "sentiflow/evaluation/*.py": ["tests/sentiflow/evaluation/"],
    "sentiflow/tracking/{promotion,candidate,versions}.py": [
        "tests/sentiflow/tracking/test_{promotion,candidate,versions,registry}.py"
    ],
    "sentiflow/tracking/learnt.py": ["tests/sentiflow/tracking/test_learnt.py"],
    "sentiflow/locks.py": ["tests/sentiflow/test_{locks,shared_lock}.py"],
    "sentiflow/orchestration/repair.py": [
        "tests/sentiflow/tracking/test_endings.py",
        "tests/{tasks/test_old_runs,flows/test_housekeeping}.py",
    ],
    "sentiflow/batch/*.py": ["tests/sentiflow/batch/"],
    "sentiflow/serving/schemas.py": ["tests/sentiflow/serving/test_{schemas,invocations,answers,malformed}.py"],
    "sentiflow/serving/batching.py": ["tests/sentiflow/serving/test_{batching,texts,answers}.py"],
    "sentiflow/serving/champion.py": ["tests/sentiflow/serving/test_following.py"],
    "sentiflow/serving/app.py": [
        "tests/sentiflow/serving/test_{answers,invocations,origins,token,following,texts}.py"
    ],
    "sentiflow/serving/middleware.py": [
        "tests/sentiflow/serving/test_{middleware,limits,uploads,connections,origins,token,answers}.py"
    ],
    "sentiflow/serving/{server,__init__}.py": [  # their stories, too
        "-m", "story or not story",
        "tests/sentiflow/serving/test_{server,connections,answers,token,limits,workers,following,texts}.py",
    ],
}  # fmt: skip
EQUIVALENT = Path(__file__).with_suffix(".toml")
LEFT_OUT = ["*against_keras.py", "*test_dask.py"]  # minutes of TensorFlow and Dask
LIBRARIES = [
    "numpy", "pandas", "pyarrow.parquet", "pyarrow.csv", "pyarrow.json", "pyarrow.compute", "pydantic_settings",
    "typer.testing", "rich.table", "rich.progress", "requests", "scipy.stats", "sklearn.metrics", "pandera",
    "pooch", "httpx", "fastapi", "uvicorn", "mlflow.tracking",
]  # fmt: skip
MEMORY = 6_000_000_000  # bytes a process: some mutants read for ever
KEPT = ("migrated_store", "trained", "three_versions")  # fixtures made once, of the code as it is
SWAPPED: dict[type, type] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult, ast.BitAnd: ast.BitOr,
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One place of a module, changed."""

    module: str
    line: int
    before: str  # the line or lines, stripped
    after: str
    source: str


def mutants_of(module: str) -> list[Mutant]:
    """All mutants of a module, in the order of its lines."""
    text = (ROOT / module).read_text()
    lines, found = text.encode().splitlines(keepends=True), []
    for node, new in _changes(ast.parse(text)):
        first, last = node.lineno - 1, node.end_lineno
        old = b"".join(lines[first:last])
        tail = len(lines[last - 1]) - node.end_col_offset
        changed = old[: node.col_offset] + new.encode() + old[len(old) - tail :]
        source = b"".join([*lines[:first], changed, *lines[last:]]).decode()
        with suppress(SyntaxError):
            ast.parse(source)
            before, after = (" ".join(part.decode().split()) for part in (old, changed))
            found.append(Mutant(module, node.lineno, before, after, source))
    return sorted(found, key=lambda mutant: mutant.line)


def _changes(node: ast.AST) -> Iterator[tuple[Any, str]]:
    """Nodes, and the code to put in place of each."""
    for name, field in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list") or isinstance(node, ast.JoinedStr):
            continue  # types are not run; places inside of f-strings are not known
        for child in field if isinstance(field, list) else [field]:
            if isinstance(child, ast.AST) and "TYPE_CHECKING" not in ast.unparse(getattr(child, "test", child)):
                for old, new in _changed(child):
                    yield old, f"({ast.unparse(new)})" if isinstance(new, ast.expr) else ast.unparse(new)
                yield from _changes(child)


def _changed(node: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
    match node:
        case ast.Compare(ops=[operator]) if type(operator) in SWAPPED:
            yield node, ast.Compare(node.left, [SWAPPED[type(operator)]()], node.comparators)
        case ast.BinOp() if type(node.op) in SWAPPED and not any(map(_is_text, (node.left, node.right))):
            yield node, ast.BinOp(node.left, SWAPPED[type(node.op)](), node.right)
        case ast.BoolOp():
            yield node, ast.BoolOp(SWAPPED[type(node.op)](), node.values)
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            yield node, node.operand
        case ast.Constant(value=bool(value)):
            yield node, ast.Constant(not value)
        case ast.Constant(value=int(value) | float(value)):
            yield from ((node, ast.Constant(value + 1)), (node, ast.Constant(value - 1)))
        case ast.Call(func=ast.Name(id="min" | "max" as name)):
            yield node.func, ast.Name("max" if name == "min" else "min")
        case ast.Expr(value=ast.Call() | ast.Await()):
            yield node, ast.Pass()
        case ast.Return(value=ast.expr()) if ast.unparse(node) != "return None":
            yield node, ast.Return(ast.Constant(None))
        case ast.Break() | ast.Continue():
            yield node, ast.Continue() if isinstance(node, ast.Break) else ast.Break()
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test) if not isinstance(
            test, ast.Compare | ast.UnaryOp | ast.BoolOp
        ):
            yield test, ast.UnaryOp(ast.Not(), test)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


class Plugin:
    """Kept fixtures and the order of the tests; without an order, which test executes which lines."""

    def __init__(
        self, folder: Path, kept: Path, modules: list[str], order: "dict[str, tuple[bool, float]]"
    ) -> None:
        self.folder, self.kept, self.order, self.failed = folder, kept, order, ""
        self.modules = {str(folder / module): module for module in modules}
        self.executed: dict[str, Any] = {}

    def pytest_fixture_setup(self, fixturedef: Any, request: Any) -> object:
        name, file = fixturedef.argname, self.kept / f"{fixturedef.argname}.pickle"
        if name == "prefect_server" and (self.kept / "trained.pickle").exists():
            sources = [item.path.read_text() for item in request.session.items]
            if any("prefect_server" in source or "SyncPrefectClient" in source for source in sources):
                return None  # no fixture that is kept needs it, but a test does
            fixturedef.cached_result = (True, fixturedef.cache_key(request), None)
            return True
        if not _is_kept(fixturedef) or not file.exists():
            return None
        value = pickle.loads(file.read_bytes())
        fixturedef.cached_result = (value, fixturedef.cache_key(request), None)
        return value

    def pytest_fixture_post_finalizer(self, fixturedef: Any) -> None:
        if _is_kept(fixturedef) and fixturedef.cached_result and self.order == {}:
            (self.kept / f"{fixturedef.argname}.pickle").write_bytes(pickle.dumps(fixturedef.cached_result[0]))

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        items[:] = [item for item in items if not any(fnmatch.fnmatch(str(item.path), each) for each in LEFT_OUT)]
        items.sort(key=lambda item: self.order.get(item.nodeid, (False, 0.0)))

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed and not self.failed:
            self.failed = report.nodeid

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: Any) -> Iterator[None]:
        if self.order:
            signal.alarm(round(30 + 4 * self.order[item.nodeid][1]))  # what waits for ever ends the process
            yield
            signal.alarm(0)
            return
        lines: set[tuple[str, int]] = set()

        def trace(frame: Any, event: str, _: object) -> Any:
            if module := self.modules.get(frame.f_code.co_filename):
                lines.add((module, frame.f_lineno))
                return trace
            return None

        began = time.perf_counter()
        threading.settrace(trace)
        sys.settrace(trace)
        yield
        sys.settrace(None)
        threading.settrace(None)  # type: ignore[arg-type]
        self.executed[item.nodeid] = (time.perf_counter() - began, sorted(lines))


def _is_kept(fixturedef: Any) -> bool:
    """A test file's own fixture of such a name is made for each mutant: its tests change what it gives."""
    return fixturedef.argname in KEPT and fixturedef.baseid == "tests"


def _file(test: str) -> str:
    return test.partition("::")[0]


def _files(mutant: Mutant, tests: Iterable[str]) -> list[list[str]]:
    """Files of tests to run at a time: the module's own, then the others."""
    files = list(dict.fromkeys(map(_file, tests)))
    own = [file for file in files if Path(file).stem == f"test_{Path(mutant.module).stem}"]
    return [part for part in (own, [file for file in files if file not in own]) if part]


class Runs:
    """Runs tests in forks, in a copy of the code of this process's own."""

    def __init__(self, root: Path) -> None:
        self.root, self.folder = root, Path(tempfile.mkdtemp(prefix="copy-", dir=root))
        self.written = 1_000_000_000  # a time of its own for each mutant, so that no stale bytecode is used
        folders = "flows", "tasks", "sentiflow", "tests", "benchmarks", "docs"
        for name in (*folders, "pyproject.toml", "README.md", "requirements-team.lock"):
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
            copy(ROOT / name, self.folder / name)

    def baseline(self, modules: list[str], tests: list[str]) -> dict[str, Any]:
        """The seconds of each test and the lines that it executes.

        The tests must pass, also where and as they run for a mutant.
        """
        state, _ = self._run(modules, tests, {}, 1_800, Path(tempfile.mkdtemp(dir=self.root)))
        executed = json.loads((self.folder / "result.json").read_text())["executed"] if state == 0 else {}
        unchanged = Mutant(modules[0], 0, "", "", (ROOT / modules[0]).read_text())
        if state != 0 or self.kills(unchanged, tests, executed):
            output = (self.folder / "output").read_text()
            raise RuntimeError(f"The tests fail without any change:\n{output[-3000:]}")
        return dict(executed)

    def kills(self, mutant: Mutant, tests: list[str], baseline: dict[str, Any]) -> str:
        """What kills the mutant: a test, the time, or nothing (empty)."""
        place = [mutant.module, mutant.line]
        order = {name: (place not in lines, seconds) for name, (seconds, lines) in baseline.items()}
        options = [each for each in tests if not each.startswith("tests/")]
        file = self.folder / mutant.module
        self.written += 1
        try:
            file.write_text(mutant.source)
            os.utime(file, (self.written, self.written))
            for files in _files(mutant, order):
                limit = 30 + 4 * sum(seconds for name, (_, seconds) in order.items() if _file(name) in files)
                state, failed = self._run(
                    [mutant.module], [*options, *files], order, limit, self.folder / "worlds"
                )
                if state in (None, -signal.SIGALRM):
                    return "the time"
                if state != 0:
                    return failed or f"exit code {state}, such as of a failed import"
        finally:
            shutil.copy2(ROOT / mutant.module, file)
        return ""

    def _run(
        self, modules: list[str], tests: list[str], order: dict[str, Any], limit: float, worlds: Path
    ) -> tuple[int | None, str]:
        """Run the tests in a fork; gives pytest's exit code, None for none in time, and the test that failed."""
        result = self.folder / "result.json"
        result.unlink(missing_ok=True)
        child = os.fork()
        if child == 0:
            try:
                self._be_the_child(modules, tests, order, worlds)
            finally:
                traceback.print_exc()
                os._exit(70)
        ends, state = time.monotonic() + limit, None
        while state is None and time.monotonic() < ends:
            ended, status = os.waitpid(child, os.WNOHANG)
            state = os.waitstatus_to_exitcode(status) if ended else None
            time.sleep(0.02)
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        if state is None:
            os.waitpid(child, 0)
        return state, json.loads(result.read_text())["failed"] if result.exists() else ""

    def _be_the_child(self, modules: list[str], tests: list[str], order: dict[str, Any], worlds: Path) -> None:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
        os.chdir(self.folder)
        output = os.open("output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        for name in [
            name for name in sys.modules if name.partition(".")[0] in ("tests", "sentiflow", "flows", "tasks")
        ]:
            del sys.modules[name]
        sys.path[:] = [str(self.folder), *(path for path in sys.path if path not in ("", str(ROOT)))]
        os.environ["PYTHONPATH"] = str(self.folder)
        plugin = Plugin(self.folder, self.root, modules, order)
        state = pytest.main(["-x", "-q", "-p", "no:cacheprovider", "--basetemp", str(worlds), *tests], [plugin])
        Path("result.json").write_text(json.dumps({"failed": plugin.failed, "executed": plugin.executed}))
        sys.stdout.flush()  # what failed without any change is told
        os._exit(state)


_runs: Runs


def _begin(root: Path) -> None:
    global _runs
    _runs = Runs(root)


def _baseline(arguments: tuple[list[str], list[str]]) -> dict[str, Any]:
    return _runs.baseline(*arguments)


def _kills(arguments: tuple[Mutant, list[str], dict[str, Any]]) -> str:
    return _runs.kills(*arguments)


def _alternatives(pattern: str) -> list[str]:
    """``a_{b,c}.py`` is ``a_b.py`` and ``a_c.py``."""
    before, brace, rest = pattern.partition("{")
    names, _, after = rest.partition("}")
    return [f"{before}{name}{after}" for name in names.split(",")] if brace else [pattern]


def _modules(pattern: str, chosen: list[str]) -> list[str]:
    found = sorted(str(file.relative_to(ROOT)) for part in _alternatives(pattern) for file in ROOT.glob(part))
    return [each for each in found if mutants_of(each) and each.startswith(tuple(chosen or [""]))]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("modules", nargs="*", help="files or folders; all by default")
    parser.add_argument("--sample", type=int, default=5, help="mutants of each module, 0 for all (default 5)")
    parser.add_argument("--seed", type=int, default=0, help="which ones (default 0)")
    parser.add_argument("--processes", type=int, default=2)
    chosen = parser.parse_args()
    listed = tomllib.loads(EQUIVALENT.read_text())["mutant"]
    equivalent = {(each["module"], each["before"], each["after"]) for each in listed}
    there = {
        (module, each.before, each.after)
        for module in {each["module"] for each in listed}
        for each in mutants_of(module)
    }
    if gone := equivalent - there:
        parser.error(f"{EQUIVALENT.name} lists mutants that the code no longer has: {sorted(gone)}")
    for name in [name for name in os.environ if name.startswith("SENTIFLOW_")]:
        del os.environ[name]  # of whoever runs this
    os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    for name in LIBRARIES:
        importlib.import_module(name)
    rows, survivors = (
        ["| module | mutants | sampled | killed | equivalent | survived |", "|---|---|---|---|---|---|"],
        0,
    )
    with (
        tempfile.TemporaryDirectory(prefix="mutants-") as folder,  # short: a socket's path has 107 characters
        multiprocessing.get_context("fork").Pool(chosen.processes, _begin, (Path(folder),)) as pool,
    ):
        for pattern, given in GROUPS.items():
            tests = [each for part in given for each in _alternatives(part)]
            modules = _modules(pattern, chosen.modules)
            baseline = pool.apply(_baseline, ((modules, tests),)) if modules else {}
            for module in modules:
                found = mutants_of(module)
                number = min(chosen.sample or len(found), len(found))
                picked = random.Random(f"{chosen.seed} {module}").sample(found, number)
                tried = [each for each in picked if (module, each.before, each.after) not in equivalent]
                killed = 0
                killers = pool.imap(_kills, [(each, tests, baseline) for each in tried], 1)
                for each, killer in zip(tried, killers, strict=True):
                    fate = f"killed by {killer}" if killer else "SURVIVED"
                    _say(f"{fate}: {module}:{each.line}\n  - {each.before}\n  + {each.after}")
                    killed += bool(killer)
                survivors += len(tried) - killed
                figures = len(found), number, killed, number - len(tried), len(tried) - killed
                rows.append(f"| `{module}` | {' | '.join(map(str, figures))} |")
    _say("\n".join(rows))
    sys.exit(1 if survivors else 0)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
