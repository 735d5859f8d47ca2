"""The plans of start, stop and restart, from a stack and what exists."""

from dataclasses import replace
from pathlib import Path

import pytest

from owctl.compose.model import (
    Attachment,
    Build,
    Dependency,
    Mount,
    Network,
    Port,
    Service,
    Stack,
    Volume,
)
from owctl.engine.containers import Container
from owctl.engine.images import Image
from owctl.errors import UsageError
from owctl.lifecycle.observed import Observed
from owctl.lifecycle.plan import Plan, Step
from owctl.lifecycle.start_plan import Scale, StartOptions, check_scale, plan_start
from owctl.lifecycle.stop_plan import plan_restart, plan_stop


def service(name: str, *after: str, **changes) -> Service:
    return Service(
        name=name,
        image=changes.pop("image", f"example/{name}"),
        depends_on=tuple(Dependency(other, "service_healthy") for other in after),
        attachments=(Attachment("net"),),
        **changes,
    )


def stack(*services: Service) -> Stack:
    return Stack(
        project="proj",
        working_dir=Path("/srv/proj"),
        config_files=(Path("/srv/proj/compose.yaml"),),
        environment_files=(),
        services={item.name: item for item in services},
        networks={"net": Network("net", "proj_net")},
        volumes={"data": Volume("data", "proj_data")},
    )


def container(
    name: str, *, number: int = 1, state: str = "running", given_name: str = ""
) -> Container:
    return Container(
        id=f"{name}{number}".ljust(64, "0"),
        name=given_name or f"proj-{name}-{number}",
        service=name,
        project="proj",
        number=number,
        state=state,
        engine_health=None,
        exit_code=0 if state == "exited" else None,
        oom_killed=False,
        error="",
        started_at=None,
        finished_at=None,
        restart_count=0,
        restart_policy="no",
        image=f"example/{name}",
        image_id="sha256:1",
        ports=(),
        networks={},
        mounts=(),
        labels={},
        tty=False,
        environment={},
        raw={},
    )


def observed(*containers: Container, present: tuple[str, ...] = (), **changes) -> Observed:
    images = {name: Image("sha256:1", (name,), (), 0, "", {}, {}) for name in present}
    return Observed(containers=containers, images=images, **changes)


def same(*_: object) -> tuple[str, ...]:
    return ()


def find(plan: Plan, kind: str, subject: str) -> Step:
    matches = [s for s in plan.steps if s.kind == kind and s.subject == subject]
    assert len(matches) == 1, f"{kind} {subject}: {[s.key for s in plan.steps]}"
    return matches[0]


def test_start_creates_everything_before_it_starts_anything():
    both = stack(service("db"), service("app", "db"))
    plan = plan_start(both, observed(), ["db", "app"], StartOptions(), same)
    created = {step.key for step in plan.steps if step.kind == "create"}
    assert len(created) == 2
    for step in plan.steps:
        if step.kind == "start":
            assert created <= step.requires


def test_start_gates_a_service_on_its_own_dependencies_only():
    three = stack(service("db"), service("cache"), service("app", "db"))
    plan = plan_start(three, observed(), ["db", "cache", "app"], StartOptions(), same)
    start = find(plan, "start", "app")
    assert find(plan, "ready", "db").key in start.requires
    assert find(plan, "ready", "cache").key not in start.requires


def test_start_of_one_service_takes_its_dependencies_along():
    three = stack(service("db"), service("other"), service("app", "db"))
    plan = plan_start(three, observed(), ["app"], StartOptions(), same)
    assert {step.service for step in plan.steps if step.kind == "start"} == {"db", "app"}


def test_unchanged_running_services_are_left_alone():
    one = stack(service("db"))
    seen = observed(container("db"), present=("example/db",), networks={"proj_net": "1"})
    plan = plan_start(one, seen, ["db"], StartOptions(), same)
    assert plan.changes == ()
    assert [step.kind for step in plan.steps] == ["ready"]


def test_a_stopped_container_is_started_not_made_again():
    one = stack(service("db"))
    seen = observed(container("db", state="exited"), present=("example/db",))
    plan = plan_start(one, seen, ["db"], StartOptions(), same)
    assert find(plan, "start", "db").container_id == seen.containers[0].id
    assert not [step for step in plan.steps if step.kind == "create"]


def test_a_changed_service_is_created_beside_and_then_replaced_and_says_why():
    one = stack(service("db"))
    seen = observed(container("db"), present=("example/db",))
    plan = plan_start(one, seen, ["db"], StartOptions(), lambda *_: ("environment LOG_LEVEL",))
    replaced = find(plan, "replace", "db")
    assert find(plan, "create", "db").key in replaced.requires
    assert replaced.key in find(plan, "start", "db").requires
    assert "environment LOG_LEVEL changed" in str(replaced)


@pytest.mark.parametrize(
    ("changes", "present", "options", "expected"),
    [
        ({}, False, StartOptions(), "pull"),
        ({}, True, StartOptions(), None),
        ({}, True, StartOptions(pull=True), "pull"),
        ({"pull_policy": "never"}, False, StartOptions(pull=True), None),
        ({"pull_policy": "always"}, True, StartOptions(), "pull"),
        ({"build": Build(Path("/x"))}, False, StartOptions(), "build"),
        ({"build": Build(Path("/x"))}, True, StartOptions(), None),
        ({"build": Build(Path("/x"))}, True, StartOptions(build=True), "build"),
        ({"build": Build(Path("/x"))}, True, StartOptions(pull=True), None),
    ],
)
def test_which_image_step_a_service_needs(changes, present, options, expected):
    one = stack(service("db", **changes))
    seen = observed(present=("example/db",) if present else ())
    plan = plan_start(one, seen, ["db"], options, same)
    kinds = [step.kind for step in plan.steps if step.kind in ("pull", "build")]
    assert kinds == ([expected] if expected else [])


def test_services_that_share_an_image_pull_it_once():
    two = stack(service("a", image="example/same"), service("b", image="example/same"))
    plan = plan_start(two, observed(), ["a", "b"], StartOptions(), same)
    pulls = [step for step in plan.steps if step.kind == "pull"]
    assert len(pulls) == 1
    for name in ("a", "b"):
        assert pulls[0].key in find(plan, "create", name).requires


def test_missing_networks_and_volumes_come_before_the_containers_that_use_them():
    one = stack(service("db", mounts=(Mount("volume", "/data", source="data"),)))
    plan = plan_start(one, observed(), ["db"], StartOptions(), same)
    create = find(plan, "create", "db")
    assert {find(plan, "network", "net").key, find(plan, "volume", "data").key} <= create.requires


def test_nothing_is_made_until_the_images_are_here():
    one = stack(service("db", mounts=(Mount("volume", "/data", source="data"),)))
    plan = plan_start(one, observed(), ["db"], StartOptions(), same)
    pull = find(plan, "pull", "db").key
    assert pull in find(plan, "network", "net").requires
    assert pull in find(plan, "volume", "data").requires


def test_scaling_down_removes_the_newest():
    one = stack(service("web"))
    seen = observed(container("web"), container("web", number=2), present=("example/web",))
    plan = plan_start(one, seen, ["web"], StartOptions(), same)
    removed = find(plan, "remove", "web")
    assert removed.number == 2


def test_scaling_up_keeps_what_runs_and_fills_the_numbers():
    one = stack(service("web"))
    seen = observed(container("web", number=2), present=("example/web",))
    plan = plan_start(one, seen, ["web"], StartOptions(scale=Scale({"web": 3})), same)
    assert sorted(step.number for step in plan.steps if step.kind == "create") == [1, 3]


@pytest.mark.parametrize(
    ("changes", "count", "words"),
    [
        ({"container_name": "only-one"}, 2, ["container_name", "only-one", "!reset"]),
        (
            {"ports": (Port(8080, "8080"),)},
            3,
            ["host port 8080", "8080-8082"],
        ),
        ({"ports": (Port(8080, "8080-8081"),)}, 3, ["8080-8081", "2 in number", "8080-8082:8080"]),
    ],
)
def test_what_cannot_be_scaled_says_why_and_the_way_out(changes, count, words):
    one = stack(service("web", **changes))
    with pytest.raises(UsageError) as caught:
        check_scale(one, Scale({"web": count}), ["web"])
    text = f"{caught.value.message} {caught.value.hint}"
    for word in words:
        assert word in text
    check_scale(one, Scale({"web": 1}), ["web"])


@pytest.mark.parametrize("published", [None, "", "8080-8082"])
def test_what_can_be_scaled(published):
    one = stack(service("web", ports=(Port(8080, published),)))
    check_scale(one, Scale({"web": 3}), ["web"])


def test_containers_that_share_a_range_of_ports_start_one_after_another():
    one = stack(service("web", ports=(Port(8080, "8080-8082"),)))
    plan = plan_start(one, observed(), ["web"], StartOptions(scale=Scale({"web": 3})), same)
    starts = [step for step in plan.steps if step.kind == "start"]
    assert starts[0].key in starts[1].requires
    assert starts[1].key in starts[2].requires


def test_the_leftover_of_an_interrupted_replacement_is_removed_first():
    one = stack(service("db"))
    left = container("db", state="created", given_name="0123456789ab_proj-db-1")
    plan = plan_start(one, observed(successors=(left,)), ["db"], StartOptions(), same)
    removed = find(plan, "remove", "db")
    assert removed.key in find(plan, "create", "db").requires


def test_without_wait_only_the_gates_are_waited_for():
    both = stack(service("db"), service("app", "db"))
    plan = plan_start(both, observed(), ["db", "app"], StartOptions(wait=False), same)
    assert [step.subject for step in plan.steps if step.kind == "ready"] == ["db"]


def test_stop_takes_dependants_down_first_and_the_network_last():
    both = stack(service("db"), service("app", "db"))
    seen = observed(container("db"), container("app"), networks={"proj_net": "1"})
    plan = plan_stop(both, seen, ["db", "app"])
    order = [step.key for step in plan.steps]
    assert order.index(find(plan, "stop", "app").key) < order.index(find(plan, "stop", "db").key)
    assert plan.steps[-1].kind == "remove-network"
    assert not [step for step in plan.steps if step.kind == "volume"]


def test_stop_of_one_service_keeps_the_network():
    both = stack(service("db"), service("app", "db"))
    seen = observed(container("db"), container("app"), networks={"proj_net": "1"})
    plan = plan_stop(both, seen, ["app"])
    assert {step.service for step in plan.steps} == {"app"}


def test_stop_leaves_orphans_unless_asked():
    one = stack(service("db"))
    orphan = container("old")
    seen = observed(container("db"), orphans=(orphan,), networks={"proj_net": "1"})
    plan = plan_stop(one, seen, ["db"])
    assert {step.service for step in plan.steps} == {"db"}
    assert not [step for step in plan.steps if step.kind == "remove-network"]
    everything = plan_stop(one, seen, ["db"], orphans=True)
    assert {step.service for step in everything.steps} == {"db", "old", None}


def test_restart_waits_for_the_dependencies_that_restart_too():
    both = stack(service("db"), service("app", "db"))
    seen = observed(container("db"), container("app"))
    plan = plan_restart(both, seen, ["db", "app"])
    assert find(plan, "ready", "db").key in find(plan, "restart", "app").requires
    alone = plan_restart(both, seen, ["app"])
    assert find(alone, "restart", "app").requires == frozenset()


def web_stack(**edge) -> Stack:
    return stack(
        service("backend"),
        replace(
            service("frontend"),
            depends_on=(Dependency("backend", "service_healthy", **edge),),
        ),
    )


def test_a_web_server_is_asked_through_after_its_upstream_moved():
    seen = observed(
        container("backend"),
        container("frontend"),
        present=("example/backend", "example/frontend"),
        networks={"proj_net": "1"},
    )

    def backend_changed(service, *_):
        return ("environment A",) if service.name == "backend" else ()

    plan = plan_start(web_stack(), seen, ["backend"], StartOptions(), backend_changed)
    reach = find(plan, "reach", "frontend")
    assert find(plan, "ready", "backend").key in reach.requires
    assert reach not in plan.changes
    restarted = plan_restart(web_stack(), seen, ["backend"])
    assert find(restarted, "reach", "frontend").container_id == seen.of("frontend")[0].id
    unmoved = plan_start(web_stack(), seen, ["backend", "frontend"], StartOptions(), same)
    assert not [step for step in unmoved.steps if step.kind == "reach"]


def test_a_web_server_that_starts_itself_is_not_asked_through():
    plan = plan_start(web_stack(), observed(), ["backend", "frontend"], StartOptions(), same)
    assert not [step for step in plan.steps if step.kind == "reach"]


def test_a_dependant_that_asks_for_it_restarts_with_what_it_depends_on():
    seen = observed(
        container("backend"), container("frontend"), present=("example/backend", "example/frontend")
    )

    def backend_changed(service, *_):
        return ("image",) if service.name == "backend" else ()

    names = ["backend", "frontend"]
    plan = plan_start(web_stack(restart=True), seen, names, StartOptions(), backend_changed)
    restart = find(plan, "restart", "frontend")
    assert find(plan, "ready", "backend").key in restart.requires
    assert "backend replaced" in str(restart)
    without = plan_start(web_stack(), seen, names, StartOptions(), backend_changed)
    assert not [step for step in without.steps if step.kind == "restart"]
