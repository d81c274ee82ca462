"""Scoring by a real Dask scheduler and two worker processes."""

from collections.abc import Iterator
from pathlib import Path

import dask.config
import pandas as pd
import pytest
from distributed import Client

from sentiflow.batch.job import Request, score_input
from sentiflow.errors import ExternalError, UsageError
from tests.dask_cluster import certificate, cluster, read_by_dask
from tests.world import Trained

_CA = "distributed.comm.tls.ca-file"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with cluster(tmp_path_factory.mktemp("dask")) as found:
        yield found


@pytest.fixture(autouse=True)
def _in_its_world(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    trained.world.enter(monkeypatch)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "in.csv"
    texts = [f"The acting was {'dull' if k % 3 else 'touching'} {k}." if k % 50 else "" for k in range(20_000)]
    pd.DataFrame({"id": range(len(texts)), "text": texts}).to_csv(made, index=False)
    return made


def test_a_cluster_writes_the_same_bytes_as_this_machine(
    trained: Trained, address: str, path: Path, tmp_path: Path
) -> None:
    here = score_input(Request(path, tmp_path / "here.parquet", keep=("id",)), trained.world.settings)
    settings = trained.world.settings.model_copy(update={"task_runner": "dask", "dask_address": address})
    request = Request(path, tmp_path / "there.parquet", keep=("id",))

    there = score_input(request, settings)
    for one, other in ((here.output, there.output), (here.totals.rejects, there.totals.rejects)):
        assert one is not None and other is not None
        assert one.read_bytes() == other.read_bytes()


@pytest.mark.story
def test_a_cluster_with_certificates_scores_for_who_has_one_and_for_nobody_else(
    trained: Trained, path: Path, tmp_path: Path
) -> None:
    names = certificate(tmp_path)
    known = read_by_dask(names)
    request = Request(path, tmp_path / "out.parquet", keep=("id",))
    with dask.config.set(known), cluster(tmp_path, "tls", **names) as address:
        settings = trained.world.settings.model_copy(update={"task_runner": "dask", "dask_address": address})
        assert score_input(request, settings).totals.rows == 20_000
        (tmp_path / "others").mkdir()
        # Who holds another certificate, and does not mind whose the scheduler's is.
        other = read_by_dask(certificate(tmp_path / "others")) | {_CA: known[_CA]}
        with dask.config.set(other), pytest.raises(ExternalError, match="No Dask scheduler"):
            score_input(request, settings)
        place = address.removeprefix("tls://")
        with pytest.raises((OSError, TimeoutError)):
            Client(f"tcp://{place}", timeout=3)
    with pytest.raises(UsageError, match="needs a certificate") as caught:
        score_input(request, settings)
    assert "DASK_DISTRIBUTED__COMM__TLS__CA_FILE" in caught.value.hint
    Path(names["DASK_DISTRIBUTED__COMM__TLS__CLIENT__KEY"]).unlink()
    with dask.config.set(known), pytest.raises(ExternalError, match="cannot be read"):
        score_input(request, settings)
