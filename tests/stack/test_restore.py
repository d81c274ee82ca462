"""Restores that are killed, refused or given a changed backup, on a real PostgreSQL."""

import fcntl
import hashlib
import io
import os
import shutil
import signal
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.postgres import Postgres
from tests.servers import free_port
from tests.world import ROOT

pytestmark = pytest.mark.story

DATABASES = ("mlflow", "prefect")
STEPS = ("mkdir", "tar", "chown", "psql", "pg_restore", "mv", "sync", "cp", "rm")
BEFORE, AFTER = "before the backup", "after the backup"


@dataclass(frozen=True)
class Stack:
    """A database server, a store of artifacts, folders of data and texts, and a backup of all.

    The files and both databases each hold a word, which is BEFORE in the backup and AFTER in what is there.
    """

    root: Path
    port: int
    backup: str = ""

    @property
    def store(self) -> Path:
        return self.root / "store"

    @property
    def folders(self) -> list[Path]:
        return [self.root / "data", self.root / "texts"]

    @property
    def files(self) -> list[Path]:
        return [folder / "word" for folder in (self.store / "artifacts", *self.folders)]

    @property
    def archive(self) -> Path:
        return self.root / "backups" / self.backup

    def sql(self, database: str, text: str) -> str:
        command = ["psql", "-qtA", "-v", "ON_ERROR_STOP=1", "-c", text, database]
        done = subprocess.run(command, env=self._environment(), capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def run(self, script: str, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        return self.call(["sh", ROOT / "stack" / script, self.store, *self.folders, *arguments], **variables)

    def call(self, command: "list[str | Path]", **variables: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            command, env=self._environment() | variables, capture_output=True, text=True, check=False, timeout=60,
            start_new_session=True,
        )  # fmt: skip

    def save(self, **variables: str) -> "subprocess.CompletedProcess[str]":
        return self.run("backup.sh", str(self.root / "backups"), **variables)

    def restore(self, **variables: str) -> "subprocess.CompletedProcess[str]":
        return self.run("restore.sh", str(self.root / "backups"), self.backup, **variables)

    def write(self, word: str) -> None:
        (self.store / "artifacts").mkdir(exist_ok=True)
        for file in self.files:
            file.write_text(word)
        for database in DATABASES:
            self.sql(database, f"UPDATE words SET word = '{word}'")

    def words(self) -> set[str]:
        """What the files and the databases hold."""
        kept = {self.sql(database, "SELECT word FROM words") for database in DATABASES}
        return kept | {file.read_text() for file in self.files}

    def left(self) -> list[str]:
        """What is there besides."""
        listed = self.sql("postgres", "SELECT datname FROM pg_database WHERE datname ~ '_(restored|replaced)$'")
        found = {path.name for folder in (self.store, *self.folders) for path in folder.iterdir()}
        return [*listed.split(), *(found - {"artifacts", "word", "sub"})]

    def sum_up(self) -> None:
        """As whoever changed a file of the backup does."""
        names = [file.name for file in self.archive.iterdir() if file.name != "SHA256SUMS"]
        sums = {name: hashlib.sha256((self.archive / name).read_bytes()).hexdigest() for name in names}
        (self.archive / "SHA256SUMS").write_text("".join(f"{digest}  {name}\n" for name, digest in sums.items()))

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"], "PGHOST": "127.0.0.1", "PGPORT": str(self.port), "PGUSER": "postgres",
            "MLFLOW_DB_PASSWORD": "none", "PREFECT_DB_PASSWORD": "none",
            "OWNER": f"{os.geteuid()}:{os.getegid()}", "LANG": "C.UTF-8",
        }  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[int]:
    port = free_port()
    # Every start of pytest closes its own folders to PostgreSQL's user.
    with tempfile.TemporaryDirectory(prefix="restore-") as folder:
        made = Postgres(Path(folder), port)
        made.start()
        try:
            yield port
        finally:
            made.stop()


@pytest.fixture
def stack(server: int, tmp_path: Path) -> Iterator[Stack]:
    made = Stack(tmp_path, server)
    for folder in (made.store, *made.folders, tmp_path / "backups"):
        folder.mkdir()
    for database in DATABASES:
        made.sql("postgres", f"CREATE ROLE {database} LOGIN")
        made.sql("postgres", f"CREATE DATABASE {database} OWNER {database}")
        made.sql(database, f"SET ROLE {database}; CREATE TABLE words AS SELECT '{BEFORE}'::text AS word")
    made.write(BEFORE)
    for folder in ("locks", "work", "sub/locks"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    done = made.save()
    assert done.returncode == 0, done.stderr
    for folder in ("locks", "work", "sub"):
        shutil.rmtree(tmp_path / "data" / folder)
    made.write(AFTER)
    yield Stack(tmp_path, server, next((tmp_path / "backups").iterdir()).name)
    listed = made.sql("postgres", "SELECT datname FROM pg_database WHERE datname ~ '^(mlflow|prefect)'")
    for database in listed.split():
        made.sql("postgres", f"DROP DATABASE {database} WITH (FORCE)")
    for database in DATABASES:
        made.sql("postgres", f"DROP ROLE {database}")


def test_a_backup_takes_the_place_of_what_is_there(stack: Stack) -> None:
    done = stack.restore()
    assert (done.returncode, done.stdout, done.stderr) == (0, f"Restored {stack.backup}\n", "")
    assert stack.words() == {BEFORE} and not stack.left()
    owners = stack.sql("mlflow", "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'")
    assert owners == "mlflow"


def test_data_and_texts_that_were_lost_come_back_and_what_came_since_stays(stack: Stack) -> None:
    data, texts = stack.folders
    shutil.rmtree(data)
    for folder in (data, data / "locks"):
        folder.mkdir()
    (texts / "newer").write_text(AFTER)
    assert stack.restore().returncode == 0
    assert stack.words() == {BEFORE} and (texts / "newer").read_text() == AFTER
    with tarfile.open(stack.archive / "data.tar.gz") as archive:
        assert sorted(archive.getnames()) == [".", "./sub", "./sub/locks", "./word"], (
            "locks and work are of processes"
        )


def test_the_last_backups_stay_and_those_that_go_are_named(stack: Stack) -> None:
    backups = stack.root / "backups"
    for day in range(1, 5):
        shutil.copytree(stack.archive, backups / f"2020010{day}T000000Z")
    (backups / "before the move").mkdir()
    shutil.rmtree(stack.archive)
    done = stack.save(KEEP_BACKUPS="3")
    assert done.returncode == 0, done.stderr
    names = sorted(path.name for path in backups.iterdir())
    assert names[:2] == ["20200103T000000Z", "20200104T000000Z"] and names[3:] == ["before the move"]
    assert [line.split()[1] for line in done.stdout.splitlines() if "Removed" in line] == [
        "20200101T000000Z:", "20200102T000000Z:",
    ]  # fmt: skip
    for keep in ("0", "all"):
        done = stack.save(KEEP_BACKUPS=keep)
        assert done.returncode == 2 and "KEEP_BACKUPS" in done.stderr
    assert sorted(path.name for path in backups.iterdir()) == names


def test_a_backup_that_does_not_fit_is_told_and_leaves_those_from_before(stack: Stack, tmp_path: Path) -> None:
    """As on a full disk: no program may write a file as large as the artifacts are."""
    (stack.store / "artifacts" / "large").write_bytes(os.urandom(4 << 20))
    command = f"ulimit -f 2048; exec sh {ROOT}/stack/backup.sh {stack.store} {tmp_path}/data {tmp_path}/texts "
    done = stack.call(["sh", "-c", f"{command}{tmp_path}/backups"], KEEP_BACKUPS="1")
    assert done.returncode != 0 and "No backup was made" in done.stderr
    assert [path.name for path in (tmp_path / "backups").iterdir()] == [stack.archive.name]


def test_a_restore_that_is_killed_loses_nothing_whenever_it_is(stack: Stack, tmp_path: Path) -> None:
    """Killed before the first program that it runs, then after each, in turn, until it gets through."""
    path = f"{_killing(tmp_path)}{os.pathsep}{os.environ['PATH']}"
    ends = []
    for step in range(100):
        stack.write(AFTER)
        (tmp_path / "steps").unlink(missing_ok=True)
        done = stack.restore(PATH=path, STEP=str(step))
        if done.returncode != -signal.SIGKILL:
            break
        settled = stack.run("restore.sh")
        assert settled.returncode == 0, settled.stderr
        (word,) = stack.words()
        assert not stack.left()
        ends.append(word)
    assert done.returncode == 0 and stack.words() == {BEFORE} and not stack.left()
    # The old until the databases are exchanged, then the new.
    assert ends == sorted(ends) and set(ends) == {AFTER, BEFORE} and len(ends) > 15


def test_two_restores_at_once_do_not_mix(stack: Stack) -> None:
    folder = os.open(stack.store, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        done = stack.restore()
    finally:
        os.close(folder)
    assert done.returncode == 2 and "under way" in done.stderr
    assert stack.words() == {AFTER}


def test_a_dump_that_breaks_off_leaves_nothing(stack: Stack) -> None:
    file = stack.archive / "prefect.dump"
    file.write_bytes(file.read_bytes()[:-200])
    stack.sum_up()
    done = stack.restore()
    assert done.returncode != 0
    assert stack.words() == {AFTER} and not stack.left()


def test_what_a_changed_dump_says_is_run_with_no_superuser_s_rights(stack: Stack, tmp_path: Path) -> None:
    proof = tmp_path.parent / "proof-of-a-command"
    command = f"x'; RESET ROLE; COPY (SELECT 1) TO PROGRAM 'id >{proof}'; --"
    place = "y" * (len(command) + 1)
    stack.sql("mlflow", f"SET ROLE mlflow; CREATE VIEW changed AS SELECT '{place}'::text AS word")
    shutil.rmtree(stack.archive)
    assert stack.save().returncode == 0
    stack = replace(stack, backup=next((tmp_path / "backups").iterdir()).name)
    dump = (stack.archive / "mlflow.dump").read_bytes()
    assert dump.count(place.encode()) == 1
    (stack.archive / "mlflow.dump").write_bytes(dump.replace(place.encode(), f"{command} ".encode()))
    stack.sum_up()
    done = stack.restore()
    assert done.returncode != 0 and "pg_execute_server_program" in done.stderr
    assert not proof.exists()
    assert stack.words() == {AFTER} and not stack.left()


def _link(name: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return member


def _hard_link(name: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = tarfile.LNKTYPE, "artifacts/word"
    return member


def _device(name: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.devmajor, member.devminor = tarfile.CHRTYPE, 1, 3
    return member


@pytest.mark.parametrize("make", [_link, _hard_link, _device])
def test_an_archive_that_holds_more_than_files_and_folders_is_refused(
    make: Callable[[str], tarfile.TarInfo], stack: Stack
) -> None:
    _pack(stack, make("artifacts/more"))
    done = stack.restore()
    assert done.returncode == 1 and "neither files nor folders" in done.stderr and "artifacts/more" in done.stderr
    assert stack.words() == {AFTER} and not stack.left()


def test_files_of_an_archive_get_no_special_rights_and_the_owner_of_the_store(stack: Stack) -> None:
    special = tarfile.TarInfo("artifacts/program")
    special.mode, special.uid, special.size = 0o6777, 4_711, 2
    _pack(stack, special)
    done = stack.restore()
    assert done.returncode == 0, done.stderr
    made = (stack.store / "artifacts" / "program").stat()
    assert made.st_mode & 0o7777 == 0o755 and made.st_uid == os.geteuid()


def _pack(stack: Stack, member: tarfile.TarInfo) -> None:
    """The archive with one more member."""
    with tarfile.open(stack.archive / "artifacts.tar.gz", "w:gz") as archive:
        archive.add(stack.store / "artifacts", "artifacts")
        archive.addfile(member, io.BytesIO(b"ab"))
    stack.sum_up()


def _killing(tmp_path: Path) -> Path:
    """The programs that a restore runs: with STEP 0 the first kills it, else the STEPth once its work is done."""
    folder = tmp_path / "programs"
    folder.mkdir()
    begin = f'[ "$STEP" != 0 ] || kill -9 0\necho x >>{tmp_path}/steps'
    kill = f'[ "$(wc -l <{tmp_path}/steps)" != "$STEP" ] || kill -9 0'
    for name in STEPS:
        work = f'{shutil.which(name)} "$@" || exit'
        (folder / name).write_text("\n".join(["#!/bin/sh", begin, work, kill, ""]))
        (folder / name).chmod(0o755)
    return folder
