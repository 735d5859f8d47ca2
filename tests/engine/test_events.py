"""Events of a real engine, and of one that goes away."""

import threading
import time

import pytest
from engine_helpers import body_of, create, run

from owctl.engine.containers import create_container, remove_container, start_container
from owctl.engine.events import ContainerEvent, watch_events

pytestmark = pytest.mark.engine


def collect_until(stream, action: str) -> list[ContainerEvent]:
    seen = []
    for event in stream:
        seen.append(event)
        if event.action == action:
            break
    return seen


def test_what_happens_after_the_call_is_seen(engine, make_stack, sleeper, project):
    service = sleeper(command=("sh", "-c", "exit 3"), init=None)
    stack = make_stack(service)
    with watch_events(engine, project) as stream:
        container = run(engine, stack, service)
        seen = collect_until(stream, "die")
    assert [event.action for event in seen] == ["create", "start", "die"]
    assert {event.container_id for event in seen} == {container.id}
    assert {event.service for event in seen} == {"web"}
    assert [event.exit_code for event in seen] == [None, None, 3]
    times = [event.time_ns for event in seen]
    assert times == sorted(times)
    assert abs(times[-1] / 1e9 - time.time()) < 120


def test_other_projects_and_one_off_containers_are_not_seen(engine, make_stack, sleeper, project):
    service = sleeper()
    stack = make_stack(service)
    body = body_of(engine, stack, service)
    container = create(engine, stack, service)
    body["Labels"] = {**body["Labels"], "com.docker.compose.oneoff": "True"}
    with watch_events(engine, project) as stream:
        other = create_container(engine, f"{project}-web-run-1", body)
        start_container(engine, other)
        remove_container(engine, other, force=True)
        start_container(engine, container.id)
        seen = collect_until(stream, "start")
    assert [(event.action, event.container_id) for event in seen] == [("start", container.id)]


def test_the_past_can_be_asked_for(engine, make_stack, sleeper, project):
    before = time.time() - 1
    service = sleeper()
    create(engine, make_stack(service), service)
    with watch_events(engine, project, since_seconds=before) as stream:
        assert collect_until(stream, "create")[-1].service == "web"


def test_another_thread_ends_it(engine, project):
    stream = watch_events(engine, project)
    seen = []
    thread = threading.Thread(target=lambda: seen.extend(stream))
    thread.start()
    stream.close()
    thread.join(timeout=20)
    assert not thread.is_alive()
    assert seen == []
    stream.close()  # a second time is no error
