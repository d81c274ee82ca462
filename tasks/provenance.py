"""Where a run comes from: code, machine, flow run, person."""

import platform
import shutil
import socket
import subprocess
from importlib.metadata import version

from prefect import runtime
from prefect.settings import get_current_settings

from sentiment.output import without_login
from sentiment.settings import load_settings, project_root
from tasks.person import user

LIBRARIES = ("prefect", "mlflow", "tensorflow", "keras", "numba", "numpy", "scipy", "pandas", "scikit-learn")


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that shape a result."""
    return {"version.python": platform.python_version()} | {
        f"version.{library}": version(library) for library in LIBRARIES
    }


def git_tags() -> dict[str, str]:
    """The commit of the code, and whether the working tree differs from it; ``unknown`` without git."""
    commit = _git("rev-parse", "HEAD")
    if commit is None:
        return {"git.commit": "unknown", "git.dirty": "unknown"}
    dirty = _git("status", "--porcelain")
    return {
        "git.commit": commit,
        "git.dirty": "unknown" if dirty is None else str(bool(dirty)).lower(),
        "mlflow.source.git.commit": commit,
    }


def flow_run_url(flow_run_id: str) -> str:
    """Address of a flow run in Prefect's UI.

    Under Prefect's temporary server the address works once ``prefect server start`` runs: it shares the
    temporary one's database.
    """
    settings = get_current_settings()
    ui = settings.server.ui.api_url or settings.ui_url or settings.api.url or ""
    base = (
        without_login(ui).removesuffix("/").removesuffix("/api")
        or f"http://127.0.0.1:{load_settings().prefect_port}"
    )
    return f"{base}/runs/flow-run/{flow_run_id}"


def flow_run_tags() -> dict[str, str]:
    """Id, address and name of the flow run that this is part of."""
    flow_run_id = str(runtime.flow_run.id)
    return {
        "prefect.flow_run_id": flow_run_id,
        "prefect.flow_run_url": flow_run_url(flow_run_id),
        "prefect.flow_run_name": str(runtime.flow_run.name),
    }


def origin_tags() -> dict[str, str]:
    """Who or what started the run, and on which machine."""
    name, host = user(), socket.gethostname()
    deployment = runtime.deployment.name
    how = f"deployment {deployment}" if deployment else "by hand"
    return {"started_by": f"{name}, {how}", "host": host, "mlflow.user": name}


def _git(*arguments: str) -> str | None:
    git = shutil.which("git")
    if git is None:
        return None
    done = subprocess.run(
        [git, "-C", str(project_root()), *arguments], capture_output=True, text=True, check=False, timeout=30
    )
    return done.stdout.strip() if done.returncode == 0 else None
