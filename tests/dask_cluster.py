"""A Dask scheduler and two worker processes on this machine, as a user starts them."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from distributed import Client

from tests.polling import until
from tests.servers import free_port, listens
from tests.world import ROOT

_DASK = Path(sys.executable).with_name("dask")


def certificate(folder: Path) -> dict[str, str]:
    """Make a certificate as the stack does; gives the variables that name it to all three sides."""
    subprocess.run(["sh", ROOT / "stack" / "certificate.sh", folder], check=True)
    own, key = str(folder / "certificate.pem"), str(folder / "key.pem")
    sides = {f"{side}__{name}": file for side in ("SCHEDULER", "WORKER", "CLIENT") for name, file in
             (("CERT", own), ("KEY", key))}  # fmt: skip
    return {f"DASK_DISTRIBUTED__COMM__TLS__{name}": file for name, file in {"CA_FILE": own, **sides}.items()}


def read_by_dask(variables: dict[str, str]) -> dict[str, str]:
    """The keys of Dask's configuration that such variables set."""
    names = {name: name.removeprefix("DASK_").lower() for name in variables}
    return {names[name].replace("__", ".").replace("_", "-"): value for name, value in variables.items()}


@contextmanager
def cluster(folder: Path, scheme: str = "tcp", **variables: str) -> Iterator[str]:
    """Run ``dask scheduler`` and twice ``dask worker`` until the block ends; gives the scheduler's address.

    Args:
        folder: for their logs and scratch files.
        scheme: tcp or tls; the latter with the variables of ``certificate`` for the processes, and in Dask's
            configuration of this one.
        variables: of the scheduler's and the workers' environment.
    """
    address = f"{scheme}://127.0.0.1:{free_port()}"
    port = address.rpartition(":")[2]
    with ExitStack() as stack:
        scheduler = "scheduler", "--protocol", scheme, "--host", "127.0.0.1", "--port", port, "--no-dashboard"
        stack.enter_context(_running(folder / "scheduler.log", scheduler, variables))
        until(lambda: listens(int(port)), "the scheduler", 60)
        for name in ("one", "two"):
            scratch = str(folder / "scratch")
            worker = "worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--name", name
            command = *worker, "--local-directory", scratch
            stack.enter_context(_running(folder / f"worker-{name}.log", command, variables))
        with Client(address, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=60)
        yield address


@contextmanager
def _running(log: Path, arguments: tuple[str, ...], variables: dict[str, str]) -> Iterator[None]:
    with log.open("w") as output:
        process = subprocess.Popen(
            [_DASK, *arguments], env={**os.environ, **variables}, cwd=ROOT, stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip
        try:
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
