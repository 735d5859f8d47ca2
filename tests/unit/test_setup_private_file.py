import errno
import os
import stat
from pathlib import Path

import pytest

from owctl.errors import OwctlError
from owctl.project import private_file
from owctl.project.private_file import FileAppeared, create_file, replace_file


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_file_is_private_from_its_first_moment(tmp_path, monkeypatch):
    modes = []
    real = os.open

    def watch(path, flags, mode=0o777, **more):
        descriptor = real(path, flags, mode, **more)
        if flags & os.O_CREAT:
            assert flags & os.O_EXCL
            modes.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        return descriptor

    monkeypatch.setattr(os, "open", watch)
    old = os.umask(0)
    try:
        create_file(tmp_path / ".env", b"A=1\n", mode=0o600)
    finally:
        os.umask(old)

    assert modes == [0o600]
    assert mode_of(tmp_path / ".env") == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [".env"]


def test_other_files_follow_the_umask(tmp_path):
    old = os.umask(0o022)
    try:
        create_file(tmp_path / "demo" / "a" / "run.sh", b"#!/bin/sh\n", mode=0o777)
        create_file(tmp_path / "demo" / "compose.yaml", b"services: {}\n", mode=0o666)
    finally:
        os.umask(old)

    assert mode_of(tmp_path / "demo" / "a" / "run.sh") == 0o755
    assert mode_of(tmp_path / "demo" / "compose.yaml") == 0o644


def test_a_file_that_is_there_is_not_overwritten(tmp_path):
    path = tmp_path / ".env"
    path.write_text("mine\n")

    with pytest.raises(FileAppeared):
        create_file(path, b"theirs\n", mode=0o600)

    assert path.read_text() == "mine\n"
    assert list(tmp_path.iterdir()) == [path]


def test_without_hard_links_it_works_as_well(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    path = tmp_path / ".env"
    create_file(path, b"first\n", mode=0o600)
    with pytest.raises(FileAppeared):
        create_file(path, b"second\n", mode=0o600)

    assert path.read_bytes() == b"first\n"
    assert mode_of(path) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_replaced_file_becomes_private_and_its_link_stays(tmp_path):
    target = tmp_path / "real.env"
    target.write_bytes(b"old\n")
    target.chmod(0o644)
    link = tmp_path / ".env"
    link.symlink_to(target)

    replace_file(link, b"new\n", expected=b"old\n")

    assert link.is_symlink()
    assert target.read_bytes() == b"new\n"
    assert mode_of(target) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_owners_are_kept(tmp_path):
    old = tmp_path / ".env"
    old.write_bytes(b"old\n")
    os.chown(old, 12345, 12346)
    replace_file(old, b"new\n", expected=b"old\n")
    folder = tmp_path / "theirs"
    folder.mkdir()
    os.chown(folder, 12345, 12346)
    create_file(folder / "demo" / "file", b"", mode=0o600)

    for path in (old, folder / "demo", folder / "demo" / "file"):
        assert (path.stat().st_uid, path.stat().st_gid) == (12345, 12346)


def test_a_change_by_somebody_else_is_not_lost(tmp_path):
    path = tmp_path / ".env"
    path.write_bytes(b"changed meanwhile\n")

    with pytest.raises(FileAppeared, match="somebody else"):
        replace_file(path, b"new\n", expected=b"old\n")

    assert path.read_bytes() == b"changed meanwhile\n"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
def test_what_fails_halfway_leaves_nothing_behind(tmp_path, monkeypatch, error):
    path = tmp_path / ".env"
    path.write_bytes(b"old\n")

    def fail(_):
        raise error

    monkeypatch.setattr(private_file.os, "fsync", fail)
    with pytest.raises((OwctlError, KeyboardInterrupt)) as caught:
        replace_file(path, b"new\n", expected=b"old\n")

    assert path.read_bytes() == b"old\n"
    assert list(tmp_path.iterdir()) == [path]
    if isinstance(caught.value, OwctlError):
        assert "free some space" in (caught.value.hint or "")


def test_a_folder_that_cannot_be_written_is_named():
    with pytest.raises(OwctlError, match=r"Cannot write /proc/1/\.env"):
        create_file(Path("/proc/1/.env"), b"", mode=0o600)
