"""``import sentiflow as sf``: the library from Python and in a notebook."""

import os
import signal
import subprocess
import sys

import nbformat
import pandas as pd
import pytest
from nbclient import NotebookClient

import sentiflow as sf
from sentiflow.errors import UsageError
from sentiflow.store.client import connect, experiment_id
from tests.polling import until
from tests.world import ROOT, World


def test_importing_it_is_quick_and_loads_nothing() -> None:
    code = (
        "import time; began = time.process_time(); import sentiflow as sf; spent = time.process_time() - began\n"
        "import sys; print(spent, sorted({name.partition('.')[0] for name in sys.modules}))\n"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    spent, _, loaded = done.stdout.partition(" ")
    assert float(spent) < 0.1
    assert {"prefect", "mlflow", "pandas", "numpy", "rich"}.isdisjoint(eval(loaded))


def test_mlflow_is_imported_once_it_is_set_that_it_sends_no_usage_data() -> None:
    code = "import sys, sentiflow as sf; sf.train; sys.exit('mlflow' in sys.modules)"
    subprocess.run([sys.executable, "-P", "-c", code], check=True)


def test_what_it_exports_is_there_and_nothing_else() -> None:
    assert all(getattr(sf, name) for name in sf.__all__)
    with pytest.raises(AttributeError):
        sf.tarin  # type: ignore[attr-defined]  # noqa: B018


def test_the_base_labels_texts_and_explains_them(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.enter(monkeypatch)
    model = sf.load("base")
    texts = pd.Series(["A wonderful film, superb.", "Awful, a waste of time."], index=[7, 3])
    found = model.predict(texts)
    assert found["label"].to_dict() == {7: "positive", 3: "negative"}
    assert model.predict(texts.iloc[0])["score"].tolist() == pytest.approx([found["score"].iloc[0]])
    told = model.explain("A wonderful <b>film</b>")
    assert told.words["text"].tolist()[1] == "wonderful" and told.label == "positive"
    assert told._repr_html_().startswith("<iframe srcdoc=") and "<b>" not in told._repr_html_()


def test_a_mistake_is_the_commands_error(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.enter(monkeypatch)
    with pytest.raises(UsageError, match="epochs") as raised:
        sf.train("sample", epoch=3)
    assert raised.value.exit_code == 2
    with pytest.raises(UsageError):
        sf.load("sample@champion")
    assert sf.runs().empty


@pytest.mark.story
def test_the_page_as_a_notebook_in_a_jupyter_of_its_own(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Red if a cell of the page failed, a result did not show itself, or a server was started."""
    world.enter(monkeypatch)
    page = nbformat.read(ROOT / "docs" / "python.ipynb", as_version=4)
    code = [cell for cell in page.cells if cell.cell_type == "code"]
    checks = (
        "import sys\nassert 'prefect' not in sys.modules\n"
        "again = sf.train('sample', seed=0, epochs=10)\nassert again == run\n"
        "print(run.accuracy, *run.interval, len(run.history), run.version, *sf.runs()['version'])"
    )
    page.cells.append(nbformat.v4.new_code_cell(checks))
    NotebookClient(
        page, timeout=300, kernel_name="python3", resources={"metadata": {"path": world.root}}
    ).execute()
    shown = [[output.get("data", {}).get("text/html", "") for output in cell.outputs][-1] for cell in code]
    assert [html[:7] for html in shown] == [
        "<table ",
        "<div>\n<",
        "<iframe",
        "<b>samp",
        "<div>\n<",
        "<iframe",
        "<table ",
    ]
    accuracy, low, high, epochs, *versions = page.cells[-1].outputs[-1].text.split()
    assert float(low) < float(accuracy) < float(high) and epochs == "10"
    assert versions == [f"sample-sentiment/{number}" for number in (1, 3, 2, 1)]


@pytest.mark.story
def test_a_killed_kernel_leaves_no_open_run_behind(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.enter(monkeypatch)
    client = connect(world.settings)
    experiment = experiment_id(client, world.settings)

    def started(seed: int, epochs: int) -> "subprocess.Popen[bytes]":
        fields = f"recipe='tutorial', seed={seed}, epochs={epochs}, sequence_length=20, units=4"
        code = f"import sentiflow as sf; sf.train('sample', {fields})"
        return subprocess.Popen([sys.executable, "-P", "-c", code], env={**os.environ, **world.variables})

    killed = started(0, 500)
    until(lambda: client.search_runs([experiment], "metrics.`val/loss` > 0"), "an epoch", 200)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert started(1, 1).wait(200) == 0
    found = {run.data.params["seed"]: run.info.status for run in client.search_runs([experiment])}
    assert found == {"0": "KILLED", "1": "FINISHED"}
