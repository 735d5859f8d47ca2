"""The doctor's checks against a real engine: each failing for its own reason, and fine."""

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_helpers import create, free_port, inspected, run

from owctl.compose.model import Build, Mount, Port, Service
from owctl.doctor.engine import check_engine, check_images, check_project_owner
from owctl.doctor.examine import preflight
from owctl.doctor.finding import Finding, look
from owctl.doctor.ports import check_ports
from owctl.doctor.resources import check_disk, check_memory
from owctl.engine.archives import read_start
from owctl.engine.containers import remove_container, stop_container
from owctl.errors import OwctlError, PortTaken
from owctl.volumes.one_off import HELPER_LABEL, readable

pytestmark = pytest.mark.engine


def only(findings: tuple[Finding, ...]) -> Finding:
    assert len(findings) == 1, findings
    return findings[0]


@pytest.fixture
def listener() -> Iterator[int]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_a_port_that_a_process_holds(engine, make_stack, sleeper, listener):
    stack = make_stack(sleeper("redis", ports=(Port(6379, str(listener), "127.0.0.1"),)))
    found = only(check_ports(look(engine, stack), ["redis"]))
    assert found.status == "failed"
    assert f"port {listener} of 127.0.0.1" in found.detail
    assert "process pytest" in found.detail or "process python" in found.detail
    assert "REDIS_PORT in .env" in (found.hint or "")


def test_another_address_of_the_same_port_is_free(engine, make_stack, sleeper, listener):
    stack = make_stack(sleeper("web", ports=(Port(80, str(listener), "127.0.0.2"),)))
    assert only(check_ports(look(engine, stack), ["web"])).status == "ok"
    stack = make_stack(sleeper("web", ports=(Port(80, str(listener)),)))
    assert only(check_ports(look(engine, stack), ["web"])).status == "failed"


def test_an_address_that_is_not_of_this_machine(engine, make_stack, sleeper):
    stack = make_stack(sleeper("web", ports=(Port(80, str(free_port()), "192.0.2.1"),)))
    found = only(check_ports(look(engine, stack), ["web"]))
    assert found.status == "failed"
    assert "does not have that address" in found.detail


def test_a_port_that_another_projects_container_holds(engine, make_stack, sleeper):
    port = free_port()
    mine = make_stack(sleeper("web", ports=(Port(80, str(port)),)))
    holder = run(engine, mine, mine.services["web"])
    # The very service's own container is in nobody's way.
    assert only(check_ports(look(engine, mine), ["web"])).status == "ok"

    other = make_stack(sleeper("other", ports=(Port(80, str(port), "127.0.0.1"),)))
    found = only(check_ports(look(engine, other), ["other"]))
    assert found.status == "failed"
    assert f"container {holder.name} (project {mine.project})" in found.detail

    stop_container(engine, holder.id, 0)
    assert only(check_ports(look(engine, other), ["other"])).status == "ok"


def test_two_services_that_want_one_port(engine, make_stack, sleeper):
    port = str(free_port())
    services = (
        sleeper("one", ports=(Port(80, port),)),
        sleeper("two", ports=(Port(80, port, "127.0.0.1"),)),
    )
    stack = make_stack(*services)
    found = only(check_ports(look(engine, stack), ["one", "two"]))
    assert "two publishes" in found.detail
    assert "held by one" in found.detail
    assert only(check_ports(look(engine, stack), ["two"])).status == "ok"


def test_ports_that_cannot_be_in_the_way(engine, make_stack, sleeper, listener):
    free = (Port(80), Port(81, ""), Port(82, f"{listener}-{listener + 5}"))
    stack = make_stack(sleeper("web", ports=(*free, Port(53, str(listener), "", "udp"))))
    assert only(check_ports(look(engine, stack), ["web"])).status == "ok"


def test_images_absent_unpinned_and_built_here(engine, make_stack, sleeper, project, tmp_path):
    stack = make_stack(
        sleeper("here"),
        sleeper("absent", image=f"{project}/absent:1"),
        sleeper("never", image=f"{project}/never:1", pull_policy="never"),
        sleeper("latest", image=f"{project}/latest"),
        sleeper("built", image=None, build=Build(tmp_path)),
    )
    found = check_images(look(engine, stack))
    by_service = {name: [f for f in found if f" {name}" in f.detail] for name in stack.services}
    assert by_service["here"] == []
    assert [f.status for f in by_service["absent"]] == ["warning"]
    assert [f.status for f in by_service["never"]] == ["failed"]
    assert [f.status for f in by_service["built"]] == ["warning"]
    assert "owctl start builds it" in by_service["built"][0].detail
    assert len(by_service["latest"]) == 2
    assert any("not pinned" in f.detail for f in by_service["latest"])
    assert only(check_images(look(engine, make_stack(sleeper("here"))))).status == "ok"


def test_the_engine_and_memory(engine):
    assert engine.engine_version in only(check_engine(engine)).detail
    assert check_memory(engine)[0].check == "memory"


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "owctl-test", str(folder)]
    if subprocess.run(command, check=False).returncode:
        pytest.skip("only root can make a small file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_is_nearly_full(engine, small_disk, tmp_path):
    found = [f for f in check_disk(engine, small_disk) if str(small_disk) in f.detail]
    assert [f.status for f in found] == ["failed"]
    assert found[0].hint
    assert not [f for f in check_disk(engine, tmp_path) if str(small_disk) in f.detail]


def test_start_is_refused_for_a_full_disk_unless_it_is_ignored(
    engine, make_stack, sleeper, small_disk
):
    situation = look(engine, make_stack(sleeper("web")))
    with pytest.raises(OwctlError, match="Nothing was started: 8 MB free"):
        preflight(situation, ["web"], small_disk)
    preflight(situation, ["web"], small_disk, ignore=["disk"])
    assert preflight(situation, [], small_disk) == ()


def test_start_is_refused_for_every_reason_at_once(
    engine, make_stack, sleeper, small_disk, listener
):
    stack = make_stack(sleeper("web", ports=(Port(80, str(listener)),)))
    with pytest.raises(PortTaken) as caught:
        preflight(look(engine, stack), ["web"], small_disk)
    assert str(listener) in caught.value.message
    assert any("8 MB free" in line for line in caught.value.details)
    assert any("--ignore ports --ignore disk" in line for line in caught.value.details)


def test_the_owner(engine, make_stack, sleeper, tmp_path):
    stack = make_stack(sleeper("web"))
    create(engine, stack, stack.services["web"])
    assert only(check_project_owner(engine, stack)).status == "ok"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    import dataclasses

    foreign = dataclasses.replace(stack, working_dir=elsewhere)
    found = only(check_project_owner(engine, foreign))
    assert found.status == "failed"
    assert str(tmp_path) in found.detail


def test_small_files_are_read_without_running_anything(engine, make_stack, base_image, project):
    service = Service(
        "writer",
        image=base_image,
        command=("bash", "-c", "echo -n hello > /data/file; ln -s file /data/link; mkdir /data/d"),
        mounts=(Mount("volume", "/data", source="data"),),
    )
    stack = make_stack(service, volumes=("data",))
    container = run(engine, stack, service)
    engine.api.wait(container.id)
    container = inspected(engine, container.id)
    assert read_start(engine, container.id, "/data/file") == b"hello"
    assert read_start(engine, container.id, "/data/file", 2) == b"he"
    for name in ("link", "d", "gone"):
        assert read_start(engine, container.id, f"/data/{name}") is None
    remove_container(engine, container.id)

    mount = {"Type": "volume", "Source": f"{project}_data"}
    with readable(engine, project, container.image_id, mount) as (helper, path):
        assert read_start(engine, helper, f"{path}/file") == b"hello"
        assert inspected(engine, helper).state == "created"
    left = engine.api.containers(all=True, filters={"label": [HELPER_LABEL]})
    assert helper not in [item["Id"] for item in left]
