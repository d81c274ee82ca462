"""Variables that libraries read: what could change a result is taken out, and all else stays. Sockets."""

import json
import os
import socket
import subprocess
import sys
from fnmatch import fnmatchcase

import pytest

from sentiflow import environment
from sentiflow.errors import UsageError
from tests import variables
from tests.world import ROOT

ISOLATE = """
import json, os, sys
from sentiflow import environment
environment.isolate()
print(json.dumps([dict(os.environ), environment._removed, environment.ignored()]))
"""
PATTERNS = [pattern for names in environment.KEPT.values() for pattern in names]


def isolate(given: dict[str, str]) -> tuple[dict[str, str], list[str], list[str]]:
    """What is left of these variables in a new process, what was taken out, and what is said of it."""
    own = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", ISOLATE], env=own | given, stdout=subprocess.PIPE, check=True)
    left, taken, said = json.loads(done.stdout)
    return {name: left[name] for name in left if name not in {*own, "LC_CTYPE"}}, taken, said


def test_of_all_variables_that_the_libraries_name_only_those_of_the_list_are_left() -> None:
    """Red if one that a new release reads could change a result, or if one of the list is gone."""
    names = variables.in_python()
    assert len(names) > 300 and {"KERAS_MAX_EPOCHS", "XLA_FLAGS", "TF_CONFIG", "MLFLOW_RUN_ID"} <= names
    left, taken, _ = isolate(dict.fromkeys(names, "odd"))
    kept = {name for name in names if any(fnmatchcase(name, pattern) for pattern in PATTERNS)}
    assert {name for name, value in left.items() if value == "odd"} == kept
    assert set(taken) == names - kept
    assert {name: left[name] for name in left if name not in kept} == environment.OURS
    named = names | {"TF_CPP_MIN_LOG_LEVEL"}  # in shared libraries
    assert not [pattern for pattern in PATTERNS if not any(fnmatchcase(name, pattern) for name in named)]


def test_logins_certificates_and_addresses_of_buckets_are_left() -> None:
    given = dict.fromkeys(
        (
            "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN",
            "MLFLOW_S3_IGNORE_TLS", "MLFLOW_TRACKING_SERVER_CERT_PATH", "MLFLOW_S3_ENDPOINT_URL",
            "MLFLOW_HTTP_REQUEST_TIMEOUT",
            "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "CUDA_VISIBLE_DEVICES", "AWS_ACCESS_KEY_ID", "OMP_NUM_THREADS",
            "GOOGLE_APPLICATION_CREDENTIALS", "NUMBA_CACHE_DIR", "TF_CPP_MIN_LOG_LEVEL", "REQUESTS_CA_BUNDLE",
        ),
        "mine",
    )  # fmt: skip
    left, taken, said = isolate(given)
    assert given.items() <= left.items() and not taken and not said


def test_what_is_ignored_is_named_in_a_line_and_not_again_by_a_child() -> None:
    _, _, said = isolate({"XLA_FLAGS": "--nonsense=1", "KERAS_MAX_EPOCHS": "1"} | environment.OURS)
    assert said == ["Ignored variables, which can change results: KERAS_MAX_EPOCHS, XLA_FLAGS."]
    _, _, said = isolate({"TF_\x1b[2J": "1"})
    assert said == [r"Ignored variables, which can change results: TF_\x1b[2J."]


def test_a_variable_that_its_library_has_read_already_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Red if a program that imported TensorFlow first trained with what it may not, or was told otherwise."""
    monkeypatch.setattr(environment, "_removed", [])
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    monkeypatch.setitem(sys.modules, "tensorflow", sys)
    with pytest.raises(UsageError, match=r"TF_ENABLE_ONEDNN_OPTS is set, .* tensorflow was imported before"):
        environment.isolate()
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    monkeypatch.delitem(sys.modules, "tensorflow")
    environment.isolate()
    assert "TF_ENABLE_ONEDNN_OPTS" not in os.environ


def test_an_answer_in_two_parts_does_not_wait_for_the_client_to_confirm_the_first() -> None:
    listener = environment.open_socket("127.0.0.1", 0, "")
    with listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
