"""What goes wrong on a real engine, said in owctl's words with what to try."""

import io
import socket
import tarfile

import pytest
from engine_helpers import body_of, create, free_port, run

from owctl.compose.model import Mount, Port, Volume
from owctl.engine.containers import create_container, start_container
from owctl.engine.images import inspect_image, pull_image
from owctl.engine.ports import describe_holder
from owctl.engine.volumes import ensure_volume
from owctl.errors import EngineError, ImageMissing, PortTaken

pytestmark = pytest.mark.engine


def published(port: int) -> tuple[Port, ...]:
    return (Port(target=8080, published=str(port), host_ip="127.0.0.1"),)


@pytest.fixture
def taken_port():
    """A port that this process listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_port_that_a_process_holds(engine, make_stack, sleeper, taken_port):
    service = sleeper(ports=published(taken_port))
    container = create(engine, make_stack(service), service)
    with pytest.raises(PortTaken) as caught:
        start_container(engine, container.id, container.name)
    message = caught.value.message
    assert message.startswith(f"Cannot start {container.name}: port {taken_port} of the host")
    assert "by process " in message
    assert "(pid " in message
    assert str(taken_port) in (caught.value.hint or "")


def test_a_port_that_another_container_holds(engine, make_stack, sleeper, project):
    port = free_port()
    first, second = (
        sleeper("first", ports=published(port)),
        sleeper("second", ports=published(port)),
    )
    stack = make_stack(first, second)
    run(engine, stack, first)
    with pytest.raises(PortTaken) as caught:
        run(engine, stack, second)
    assert f"by container {project}-first-1 (project {project})" in caught.value.message
    assert (
        describe_holder(engine.api, port, is_local=True)
        == f"container {project}-first-1 (project {project})"
    )


def test_a_free_port_is_held_by_nobody(engine):
    assert describe_holder(engine.api, free_port(), is_local=True) is None


def test_an_image_that_is_not_there(engine, make_stack, sleeper):
    service = sleeper()
    body = body_of(engine, make_stack(service), service) | {"Image": "no-such-image:9"}
    with pytest.raises(ImageMissing, match="no-such-image:9 is not on this machine") as caught:
        create_container(engine, "owctl-test-never", body)
    assert "owctl start --build" in (caught.value.hint or "")


def test_an_image_that_cannot_be_pulled(engine):
    # A registry on a port of ours that nobody listens on: no name is looked up anywhere.
    reference = f"127.0.0.1:{free_port()}/open-webui/frontend:1"
    with pytest.raises(ImageMissing, match="could not be pulled") as caught:
        pull_image(engine, reference)
    assert reference in caught.value.message
    assert "network" in (caught.value.hint or "")
    assert inspect_image(engine, reference) is None


def test_a_name_that_is_taken(engine, make_stack, sleeper, project):
    service = sleeper()
    stack = make_stack(service)
    first = create(engine, stack, service)
    with pytest.raises(EngineError, match=f"the name {project}-web-1 is taken") as caught:
        create(engine, stack, service)
    assert first.id[:12] in caught.value.message
    assert f"docker rm {project}-web-1" in (caught.value.hint or "")


def test_a_mount_of_a_path_that_does_not_exist(engine, make_stack, sleeper, tmp_path):
    missing = tmp_path / "missing"
    service = sleeper(mounts=(Mount("bind", "/etc/x", str(missing), create_host_path=False),))
    with pytest.raises(EngineError, match="does not exist on the engine's machine") as caught:
        create(engine, make_stack(service), service)
    assert str(missing) in caught.value.message


def test_a_mount_of_a_folder_over_a_file(engine, make_stack, sleeper, tmp_path):
    service = sleeper(mounts=(Mount("bind", "/etc/passwd", str(tmp_path)),))
    with pytest.raises(EngineError, match="a folder where a file is expected") as caught:
        run(engine, make_stack(service), service)
    assert str(tmp_path) in caught.value.message


def test_a_mount_target_that_is_not_absolute(engine, make_stack, sleeper):
    service = sleeper(mounts=(Mount("tmpfs", "relative"),))
    with pytest.raises(EngineError, match="a mount is not valid") as caught:
        create(engine, make_stack(service), service)
    assert "volumes:" in (caught.value.hint or "")


def test_a_program_that_the_image_does_not_have(engine, make_stack, sleeper):
    service = sleeper(command=("no-such-program", "--flag"), init=None)
    with pytest.raises(EngineError, match="the image has no program no-such-program") as caught:
        run(engine, make_stack(service), service)
    assert "command:" in (caught.value.hint or "")


def test_a_program_that_is_not_executable(engine, make_stack, sleeper):
    service = sleeper(command=("/etc/passwd",), init=None)
    with pytest.raises(EngineError, match="/etc/passwd in the image is not executable"):
        run(engine, make_stack(service), service)


def test_a_user_that_the_image_does_not_have(engine, make_stack, sleeper):
    service = sleeper(user="nosuchuser")
    with pytest.raises(EngineError, match="has no such user"):
        run(engine, make_stack(service), service)


def test_a_full_disk(engine, make_stack, sleeper, project):
    small = Volume(
        key="small",
        name=f"{project}_small",
        driver="local",
        driver_opts={"type": "tmpfs", "device": "tmpfs", "o": "size=64k"},
    )
    service = sleeper(mounts=(Mount("volume", "/small", source="small"),))
    stack = make_stack(service, volumes=("small",))
    ensure_volume(engine, stack, small)
    container = run(engine, stack, service)
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        entry = tarfile.TarInfo("big")
        entry.size = 1 << 20
        archive.addfile(entry, io.BytesIO(bytes(1 << 20)))
    with (
        pytest.raises(EngineError, match="the disk is full") as caught,
        engine.translate("copy a file"),
    ):
        engine.api.put_archive(container.id, "/small", content.getvalue())
    assert "df -h" in (caught.value.hint or "")


def test_an_answer_that_is_not_known_is_passed_on(engine, make_stack, sleeper):
    service = sleeper(restart="sometimes")
    with pytest.raises(EngineError, match=r"the engine answered 4.*sometimes") as caught:
        create(engine, make_stack(service), service)
    assert "owctl doctor" in (caught.value.hint or "")
