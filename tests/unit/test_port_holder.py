"""Who listens on a port of this machine, as /proc tells it."""

import os
import socket

from owctl.engine.ports import process_holding


def test_a_listener_is_found_behind_a_descriptor_that_closes_meanwhile():
    # The listing of /proc/PID/fd takes the lowest free number, and is gone when it is looked at.
    gap = os.open(os.devnull, os.O_RDONLY)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        os.close(gap)
        found = process_holding(server.getsockname()[1])
    assert found is not None
    assert found.endswith(f"(pid {os.getpid()})")


def test_a_port_that_nobody_listens_on():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        assert process_holding(server.getsockname()[1]) is None
