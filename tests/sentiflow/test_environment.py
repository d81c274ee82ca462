"""Variables of Keras, and sockets."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from sentiflow import environment


@pytest.mark.story
def test_neither_variables_nor_a_file_of_keras_choose_what_computes(tmp_path: Path) -> None:
    (tmp_path / "keras.json").write_text('{"floatx": "float16", "backend": "torch"}')
    code = "import sentiflow.training.network.model, keras; print(keras.config.backend(), keras.config.floatx())"
    theirs = {"KERAS_BACKEND": "torch", "KERAS_NNX_ENABLED": "true", "KERAS_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | theirs, capture_output=True, text=True, check=True
    )
    assert done.stdout == "tensorflow float32\n"


def test_an_answer_in_two_parts_does_not_wait_for_the_client_to_confirm_the_first() -> None:
    listener = environment.open_socket("127.0.0.1", 0, "")
    with listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
