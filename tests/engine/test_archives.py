"""Files of a container as tar streams: whole, or an error."""

import io
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import engine_helpers
import pytest
from cut_proxy import cut_off_engine

from owctl.compose.model import Service, Stack
from owctl.engine.archives import read_archive, stat_path, write_archive
from owctl.engine.connection import Engine
from owctl.engine.containers import Container
from owctl.engine.execution import run
from owctl.errors import EngineError, EngineUnavailable, NotFound

pytestmark = pytest.mark.engine

SIZE_BYTES = 20_000_000


@pytest.fixture
def container(
    engine: Engine, make_stack: Callable[..., Stack], sleeper: Callable[..., Service]
) -> Container:
    stack = make_stack(service := sleeper())
    return engine_helpers.run(engine, stack, service)


def tar_of(name: str, data: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size, member.mode, member.uid, member.gid = len(data), 0o640, 1234, 4321
        archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def pieces_of(data: bytes, size: int = 100_000) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def test_there_and_back(engine: Engine, container: Container):
    data = bytes(range(256)) * (SIZE_BYTES // 256)
    write_archive(engine, container.id, "/srv", pieces_of(tar_of("folder/file", data)))
    owner = run(engine, container.id, ["stat", "-c", "%u:%g %a", "/srv/folder/file"])
    assert owner.stdout == b"1234:4321 640\n"
    with read_archive(engine, container.id, "/srv/folder") as stream:
        pieces = list(stream)
    assert len(pieces) < SIZE_BYTES / 1000
    assert max(map(len, pieces)) <= 1 << 20
    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as archive:
        assert archive.getnames() == ["folder", "folder/file"]
        extracted = archive.extractfile("folder/file")
        assert extracted is not None
        assert extracted.read() == data


def test_a_container_that_never_ran(engine: Engine, make_stack, sleeper):
    stack = make_stack(service := sleeper())
    container = engine_helpers.create(engine, stack, service)
    write_archive(engine, container.id, "/srv", tar_of("file", b"text"))
    with read_archive(engine, container.id, "/srv/file") as stream:
        assert b"text" in b"".join(stream)


def test_what_a_path_is(engine: Engine, container: Container):
    run(engine, container.id, ["sh", "-c", "echo text > '/srv/a b'; ln -s 'a b' /srv/link"])
    found = stat_path(engine, container.id, "/srv/a b")
    assert found is not None
    assert (found.name, found.size_bytes, found.is_directory) == ("a b", 5, False)
    folder, link = (stat_path(engine, container.id, path) for path in ("/srv", "/srv/link"))
    assert folder is not None
    assert folder.is_directory
    assert link is not None
    assert link.link_target
    assert stat_path(engine, container.id, "/no/such/path") is None


def test_paths_that_do_not_exist(engine: Engine, container: Container):
    with pytest.raises(NotFound, match="Cannot read /no/such"):
        read_archive(engine, container.id, "/no/such")

    def never_asked() -> Iterator[bytes]:
        pytest.fail("nothing is to be sent")
        yield b""

    with pytest.raises(NotFound, match="Cannot unpack"):
        write_archive(engine, container.id, "/no/such", never_asked())
    with pytest.raises(EngineError, match="not a directory"):
        write_archive(engine, container.id, "/etc/passwd", never_asked())


def test_what_is_no_archive(engine: Engine, container: Container):
    with pytest.raises(EngineError, match="Cannot unpack"):
        write_archive(engine, container.id, "/srv", pieces_of(b"no archive " * 500_000))


def test_a_source_that_fails_unpacks_nothing_as_whole(engine: Engine, container: Container):
    def failing() -> Iterator[bytes]:
        yield tar_of("file", b"x" * 1_000_000)[:500_000]
        raise RuntimeError("the disk is gone")

    with pytest.raises(RuntimeError, match="the disk is gone"):
        write_archive(engine, container.id, "/srv", failing())


def test_a_stream_that_is_cut_off_is_an_error(engine: Engine, container: Container, tmp_path: Path):
    run(engine, container.id, ["sh", "-c", "head -c 40000000 /dev/zero > /srv/big"])
    with cut_off_engine(engine, tmp_path) as (reached, proxy):
        stream = read_archive(reached, container.id, "/srv/big")
        next(stream)
        proxy.cut()
        with pytest.raises(EngineUnavailable, match="Cannot read /srv/big"):
            list(stream)


def test_reading_can_be_given_up(engine: Engine, container: Container):
    with read_archive(engine, container.id, "/usr") as stream:
        assert next(stream)
    with pytest.raises(EngineUnavailable):
        list(stream)
