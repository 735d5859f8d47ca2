"""Containers on a real engine: made, listed, stopped, removed."""

import threading

import pytest
from engine_helpers import body_of, create, free_port, inspected, run, wait_until

from owctl.compose.model import Attachment, HealthCheck, Mount, Port
from owctl.engine.containers import (
    create_container,
    health_log,
    inspect_container,
    list_containers,
    remove_container,
    rename_container,
    restart_container,
    start_container,
    stop_container,
)
from owctl.errors import EngineError, NotFound

pytestmark = pytest.mark.engine


def test_a_running_container_is_seen_as_it_is(engine, make_stack, sleeper, project):
    port = free_port()
    service = sleeper(
        "web",
        ports=(Port(target=8080, published=str(port), host_ip="127.0.0.1"),),
        mounts=(Mount("volume", "/data", source="files"),),
        environment={"LOG_LEVEL": "debug", "NOT_WANTED": None},
        restart="unless-stopped",
    )
    stack = make_stack(service, volumes=("files",))
    container = run(engine, stack, service)
    assert (container.name, container.service, container.project, container.number) == (
        f"{project}-web-1", "web", project, 1,
    )  # fmt: skip
    assert container.state == "running"
    assert container.is_running
    assert container.exit_code is None
    assert container.engine_health is None
    assert container.started_at is not None
    assert container.finished_at is None
    assert container.restart_policy == "unless-stopped"
    assert [(p.host_ip, p.host_port, p.container_port, p.protocol) for p in container.ports] == [
        ("127.0.0.1", port, 8080, "tcp")
    ]
    assert container.networks[f"{project}_default"].startswith(("172.", "192.168.", "10."))
    mount = container.mounts[0]
    assert (mount.type, mount.name, mount.destination, mount.read_write) == (
        "volume", f"{project}_files", "/data", True,
    )  # fmt: skip
    assert container.environment["LOG_LEVEL"] == "debug"
    assert "NOT_WANTED" not in container.environment
    assert container.working_dir == str(stack.working_dir)
    assert container.config_files == (str(stack.working_dir / "compose.yaml"),)
    assert "debug" not in repr(container)


def test_list_is_of_this_project_ordered_and_narrowed(engine, make_stack, sleeper, project):
    web, api = sleeper("web"), sleeper("api")
    stack = make_stack(web, api)
    run(engine, stack, web, 2)
    run(engine, stack, web, 1)
    create(engine, stack, api)
    found = list_containers(engine, project)
    assert [(each.service, each.number) for each in found] == [("api", 1), ("web", 1), ("web", 2)]
    assert [each.service for each in list_containers(engine, project, services=["api"])] == ["api"]
    assert {each.service for each in list_containers(engine, project, all=False)} == {"web"}
    assert list_containers(engine, f"{project}-other") == []


def test_a_one_off_container_is_not_listed(engine, make_stack, sleeper, project):
    service = sleeper()
    stack = make_stack(service, networks=())
    create(engine, stack, service)
    body = body_of(engine, stack, service)
    body["Labels"]["com.docker.compose.oneoff"] = "True"
    create_container(engine, f"{project}-web-run-1", body)
    assert [each.name for each in list_containers(engine, project)] == [f"{project}-web-1"]


def test_a_container_that_vanishes_while_listed_is_left_out(engine, make_stack, sleeper, project):
    service = sleeper()
    stack = make_stack(service)
    for number in range(1, 4):
        create(engine, stack, service, number)
    stopped = threading.Event()

    def churn():
        # Removes and makes number 3 all the time, so that lists meet it gone.
        while not stopped.is_set():
            remove_container(engine, f"{project}-web-3", force=True)
            create(engine, stack, service, 3)

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(20):
            names = [each.name for each in list_containers(engine, project)]
            assert names[:2] == [f"{project}-web-1", f"{project}-web-2"]
    finally:
        stopped.set()
        thread.join()


def test_inspect_of_nothing_is_none(engine, project):
    assert inspect_container(engine, f"{project}-web-1") is None


def test_exit_code_and_restart(engine, make_stack, sleeper):
    service = sleeper(command=("sh", "-c", "exit 7"), init=None)
    container = run(engine, make_stack(service), service)
    wait_until(lambda: inspected(engine, container.id).state == "exited", "it exits")
    ended = inspected(engine, container.id)
    assert ended.exit_code == 7
    assert ended.finished_at is not None
    assert not ended.oom_killed


def test_stop_restart_remove(engine, make_stack, sleeper, project):
    service = sleeper()
    container = run(engine, make_stack(service), service)
    restart_container(engine, container.id)
    restarted = inspected(engine, container.id)
    assert restarted.state == "running"
    assert restarted.started_at != container.started_at
    stop_container(engine, container.id)
    assert inspected(engine, container.id).state == "exited"
    stop_container(engine, container.id)  # a second time is no error
    rename_container(engine, container.id, f"{project}-renamed")
    assert inspected(engine, container.id).name == f"{project}-renamed"
    remove_container(engine, container.id)
    assert inspect_container(engine, container.id) is None
    remove_container(engine, container.id)  # nor is this


def test_two_removals_at_once_both_end_well(engine, make_stack, sleeper):
    service = sleeper(init=None)
    container = run(engine, make_stack(service), service)
    errors = []

    def remove():
        try:
            remove_container(engine, container.id, force=True)
        except EngineError as error:
            errors.append(error)

    threads = [threading.Thread(target=remove) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert inspect_container(engine, container.id) is None


def test_a_running_container_is_not_removed_without_force(engine, make_stack, sleeper):
    service = sleeper()
    container = run(engine, make_stack(service), service)
    with pytest.raises(EngineError, match="remove the container"):
        remove_container(engine, container.id)
    assert inspected(engine, container.id).is_running


def test_all_networks_are_joined_with_names_that_resolve(engine, make_stack, sleeper, project):
    service = sleeper(
        attachments=(Attachment("default"), Attachment("back", aliases=("spare",), priority=5)),
    )
    stack = make_stack(service, networks=("back",))
    container = run(engine, stack, service)
    assert set(container.networks) == {f"{project}_default", f"{project}_back"}
    assert container.raw["HostConfig"]["NetworkMode"] == f"{project}_back"
    endpoint = container.raw["NetworkSettings"]["Networks"]
    assert {"web", f"{project}-web-1", "spare"} <= set(endpoint[f"{project}_back"]["Aliases"])
    assert {"web", f"{project}-web-1"} <= set(endpoint[f"{project}_default"]["Aliases"])


def test_a_container_that_cannot_join_its_networks_is_not_left_behind(
    engine, make_stack, sleeper, project
):
    service = sleeper()
    stack = make_stack(service)
    create(engine, stack, service, 2)
    body = body_of(engine, stack, service)
    body["NetworkingConfig"]["EndpointsConfig"]["host"] = {}
    with pytest.raises(EngineError, match="host"):
        create_container(engine, f"{project}-web-1", body)
    assert inspect_container(engine, f"{project}-web-1") is None


def test_health_log_is_what_the_check_said(engine, make_stack, sleeper):
    check = HealthCheck(
        test=("CMD-SHELL", "echo no database; exit 1"), interval_seconds=0.1, retries=1
    )
    service = sleeper(healthcheck=check)
    container = run(engine, make_stack(service), service)
    wait_until(
        lambda: inspected(engine, container.id).engine_health == "unhealthy", "it is unhealthy"
    )
    assert health_log(inspected(engine, container.id))[-1] == "no database"


def test_start_of_nothing_names_it(engine, project):
    with pytest.raises(NotFound, match=f"start {project}-web-1"):
        start_container(engine, f"{project}-web-1", f"{project}-web-1")


def test_the_grace_period_of_the_container_is_kept(engine, make_stack, sleeper):
    # A process that ignores SIGTERM is killed after one second, not after the engine's ten.
    service = sleeper(command=("sh", "-c", "trap '' TERM; sleep 60"), init=None)
    container = run(engine, make_stack(service), service)
    assert container.raw["Config"]["StopTimeout"] == 1
    stop_container(engine, container.id)
    ended = inspected(engine, container.id)
    assert ended.exit_code == 137
