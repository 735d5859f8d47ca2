"""Reaching a real engine: by which address, as which user, from several threads."""

import os
import subprocess
import sys
import threading
import time

import pytest
from engine_helpers import AS_NOBODY

from owctl.engine.connection import Engine, version_key
from owctl.errors import EngineUnavailable

pytestmark = pytest.mark.engine

REPORT_ERROR = """
import os, sys
from owctl.engine.connection import Engine
from owctl.errors import OwctlError
try:
    Engine.connect(None, os.environ)
except OwctlError as error:
    print(type(error).__name__, error.exit_code, error.message, error.hint, sep="|")
"""


def python_as_nobody(script: str, host: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*AS_NOBODY, sys.executable, "-c", script],
        capture_output=True,
        text=True,
        cwd="/",
        env={"PATH": os.environ["PATH"], "DOCKER_HOST": host, "HOME": "/nonexistent"},
        check=False,
    )


def test_what_the_engine_says_of_itself(engine):
    assert (1, 41) <= version_key(engine.api_version) <= (1, 52)
    assert engine.engine_version
    assert engine.engine_id
    assert engine.info["ID"] == engine.engine_id


def test_another_connection_to_the_same_engine_has_the_same_identity(engine):
    with Engine.connect("default", os.environ) as other:
        assert other.engine_id == engine.engine_id


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_user_who_may_not_use_the_socket(engine):
    if engine.endpoint.socket_path is None:
        pytest.skip("the engine is not reached by a unix socket")
    if python_as_nobody("import owctl", engine.host).returncode != 0:
        pytest.skip("this checkout is not readable for other users")
    done = python_as_nobody(REPORT_ERROR, engine.host)
    assert done.stderr == ""
    kind, exit_code, message, hint = done.stdout.strip().split("|")
    assert (kind, exit_code) == ("EnginePermissionDenied", "5")
    assert str(engine.endpoint.socket_path) in message
    assert "usermod -aG docker" in hint


def test_each_thread_has_a_client_of_its_own(engine):
    clients = {id(engine.api)}
    keep = []

    def look():
        keep.append(engine.api)
        clients.add(id(engine.api))

    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(clients) == 4
    assert engine.api is engine.api


def test_map_works_at_once_keeps_the_order_and_may_be_nested(engine):
    barrier = threading.Barrier(3, timeout=20)

    def meet(number: int) -> list[int]:
        barrier.wait()  # nobody gets past it unless three are at work at the same time
        return engine.map(lambda other: number * 10 + other, [1, 2])

    assert engine.map(meet, [1, 2, 3]) == [[11, 12], [21, 22], [31, 32]]


def test_map_raises_what_its_function_raised(engine):
    def fail(number: int) -> int:
        raise EngineUnavailable(f"number {number}")

    with pytest.raises(EngineUnavailable, match="number 1"):
        engine.map(fail, [1, 2])


def test_listing_five_containers_takes_no_second(engine, make_stack, sleeper, project):
    from engine_helpers import create

    from owctl.engine.containers import list_containers

    service = sleeper()
    stack = make_stack(service)
    for number in range(1, 6):
        create(engine, stack, service, number)
    assert len(list_containers(engine, project)) == 5
    before = time.perf_counter()
    list_containers(engine, project)
    assert time.perf_counter() - before < 1
