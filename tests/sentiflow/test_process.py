"""Listening sockets."""

import socket

from sentiflow.process import open_socket


def test_an_answer_in_two_parts_does_not_wait_for_the_client_to_confirm_the_first() -> None:
    with open_socket("127.0.0.1", 0, "") as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
