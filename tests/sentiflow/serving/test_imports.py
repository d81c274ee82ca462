import json
import subprocess
import sys

from tests.world import ROOT


def test_the_service_stands_on_the_library_alone() -> None:
    """It needs neither tasks nor MLflow."""
    code = (
        "import json, sys, sentiflow.serving.processes\n"
        "print(json.dumps(sorted({m.partition('.')[0] for m in sys.modules})))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout))
    assert {"sentiflow", "fastapi"} <= loaded
    assert not loaded & {"tasks", "flows", "mlflow", "prefect", "pandas", "tensorflow"}
