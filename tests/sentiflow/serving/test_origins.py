"""Requests that pages of other sites send, and names that are not the service's."""

import socket
from pathlib import Path

import httpx
import pytest
from starlette.exceptions import HTTPException

from sentiflow.serving.middleware import origins
from tests.sentiflow.serving import service
from tests.sentiflow.serving.service import Running, figure
from tests.world import Trained

GOOD = {"text": "good"}
FOREIGN = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://localhost:1"},
    {"Origin": "http://127.0.0.1:{port}.evil.example"},
]


@pytest.mark.parametrize("headers", FOREIGN)
def test_what_a_page_of_another_site_sends_is_refused_and_not_scored(
    served: Running, http: httpx.Client, headers: dict[str, str]
) -> None:
    port = served.host_and_port[1]
    scored = figure(http, "sentiflow_texts_scored_total")
    sent = {name: value.format(port=port) for name, value in headers.items()}
    for path in ("/predict", "/explain"):
        response = http.post(path, json=GOOD, headers=sent)
        assert (response.status_code, "other sites" in response.json()["detail"]) == (403, True)
    assert http.get("/model", headers=sent).status_code == 403
    assert http.options("/predict", headers=sent).status_code == 403
    assert figure(http, "sentiflow_texts_scored_total") == scored


def test_its_own_pages_typed_addresses_links_and_programs_are_answered(
    served: Running, http: httpx.Client
) -> None:
    own = {"Origin": served.address, "Sec-Fetch-Site": "same-origin"}
    assert http.post("/predict", json=GOOD, headers=own).status_code == 200
    assert http.get("/", headers={"Sec-Fetch-Site": "none"}).status_code == 200
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert http.get("/", headers=link).status_code == 200
    assert (
        http.post("/predict", json=GOOD, headers=link).status_code == 403
    )  # a form that another site's page sends
    assert http.get("/", headers=link | {"Sec-Fetch-Dest": "iframe"}).status_code == 403


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "localhost.evil.example", "0.0.0.0", "::1"]
)
def test_an_unknown_host_gets_421_from_every_path(served: Running, http: httpx.Client, host: str) -> None:
    headers = {"Host": host.format(port=served.host_and_port[1])}
    for path in ("/", "/model", "/metrics", "/healthz", "/nothing"):
        assert http.get(path, headers=headers).status_code == 421
    assert http.post("/predict", json=GOOD, headers=headers).status_code == 421


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:{port}", "127.0.0.1:9", "[::1]", "[::1]:{port}"])
def test_the_names_of_this_machine_are_known(served: Running, http: httpx.Client, host: str) -> None:
    headers = {"Host": host.format(port=served.host_and_port[1])}
    assert http.get("/model", headers=headers).status_code == 200


def test_further_names_come_from_the_setting(trained: Trained, tmp_path: Path) -> None:
    world, client = service.copied(trained, tmp_path)
    service.promote(client, 1)
    names = "reviews.example, api"
    with service.running(world, SENTIFLOW_SERVE_HOSTS=names) as running, running.client() as http:
        for host in ("reviews.example", "api:8000", "localhost"):
            headers = {"Host": host, "Origin": f"https://{host}"}
            assert http.post("/predict", json=GOOD, headers=headers).status_code == 200
        assert http.get("/model", headers={"Host": "evil.example"}).status_code == 421
    done = world.run("serve", SENTIFLOW_SERVE_HOSTS="http://reviews.example:443")
    assert (done.returncode, "SENTIFLOW_SERVE_HOSTS" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("listens", "allowed", "refused"),
    [
        ("0.0.0.0", ["172.18.0.5:8000", "[fd00::5]:8000", socket.gethostname()], ["api:8000", "evil.example"]),
        ("127.0.0.1", ["127.0.0.1:8000", "LocalHost"], ["172.18.0.5:8000", socket.gethostname()]),
    ],
)
def test_on_every_address_any_address_may_be_asked_but_no_unknown_name(
    listens: str, allowed: list[str], refused: list[str]
) -> None:
    asked = origins(listens, [])
    for host in allowed:
        asked.check({"method": "GET", "path": "/"}, {b"host": host.encode()})
    for host in refused:
        with pytest.raises(HTTPException) as told:
            asked.check({"method": "GET", "path": "/"}, {b"host": host.encode()})
        assert told.value.status_code == 421
