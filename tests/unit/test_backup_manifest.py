"""The manifest: written and read back the same; a damaged or hostile one is refused."""

import json
from pathlib import Path

import pytest

from owctl.backup import manifest
from owctl.backup.manifest import Manifest, Member
from owctl.errors import BackupInvalid

MEMBER = Member(
    name="volumes/data.tar.zst",
    kind="volume",
    size_bytes=10,
    sha256="a" * 64,
    content_size_bytes=100,
    detail={"volume": "data"},
)
WHOLE = Manifest(
    id="20250101T000000Z-abcdef",
    project="p",
    created_at="2025-01-01T00:00:00Z",
    duration_ms=12,
    members=(MEMBER,),
    label="before the upgrade: ä",
    owctl_version="1",
    services={"web": {"image": "x", "image_id": "sha256:1", "image_digests": []}},
    warnings=("w",),
)


def changed(**fields: object) -> bytes:
    return json.dumps({**WHOLE.to_json(), **fields}).encode()


def member(**fields: object) -> dict[str, object]:
    return {**MEMBER.to_json(), **fields}


def test_round_trip() -> None:
    assert manifest.parse(manifest.dump(WHOLE)) == WHOLE
    assert WHOLE.to_json()["schema"] == 1
    assert WHOLE.to_json()["size_bytes"] == 10


def test_unknown_keys_are_for_later() -> None:
    assert manifest.parse(changed(more=1, members=[member(more=2)])) == WHOLE


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        changed(schema=2),
        changed(schema="1"),
        changed(id=3),
        changed(members=None),
        changed(members=[member(name="../.env")]),
        changed(members=[member(name="/etc/passwd")]),
        changed(members=[member(name="manifest.json")]),
        changed(members=[member(name="")]),
        changed(members=[member(sha256="zz")]),
        changed(members=[member(kind="magic")]),
        changed(members=[member(size_bytes="many")]),
        changed(members=[{"name": "x"}]),
        b"\xff\xfe",
    ],
)
def test_damage_is_refused(data: bytes) -> None:
    with pytest.raises(BackupInvalid):
        manifest.parse(data)


def test_a_folder_without_one_is_no_backup(tmp_path: Path) -> None:
    with pytest.raises(BackupInvalid, match=r"no manifest\.json") as caught:
        manifest.read(tmp_path)
    assert caught.value.exit_code == 7
