"""Secrets and configs in a real container: mounted, written, seen when they change."""

from collections.abc import Callable
from pathlib import Path

import pytest

from owctl.compose.loader import load
from owctl.compose.model import Stack
from owctl.engine.archives import write_files
from owctl.engine.connection import Engine
from owctl.engine.containers import create_container, inspect_container, start_container
from owctl.engine.create_config import container_config
from owctl.engine.drift import differences
from owctl.engine.execution import run
from owctl.settings import Flags, Settings

pytestmark = pytest.mark.engine

FILE = """
services:
  reader:
    image: {image}
    command: sleep 3600
    init: true
    network_mode: none
    user: "1234"
    secrets:
      - mounted
      - token
      - {{source: token, target: private, mode: 0400, uid: "1234"}}
    configs:
      - {{source: settings, target: /etc/made/for/it.conf}}
secrets:
  mounted: {{file: secret.txt}}
  token: {{environment: TOKEN}}
configs:
  settings: {{content: "level: $LEVEL"}}
"""


@pytest.fixture
def load_stack(tmp_path: Path, project: str, base_image: str) -> Callable[..., Stack]:
    (tmp_path / "secret.txt").write_text("from a file")
    (tmp_path / "compose.yaml").write_text(FILE.format(image=base_image))

    def loaded(**variables: str) -> Stack:
        flags = Flags(project_name=project)
        return load(Settings.load(flags, {"HOME": "/root", **variables}, tmp_path))

    return loaded


def body_of(engine: Engine, stack: Stack) -> dict[str, object]:
    service = stack.services["reader"]
    image = engine.api.inspect_image(service.image)["Id"]
    return container_config(
        stack, service, number=1, image_id=image, api_version=engine.api_version
    )


def test_in_a_container(
    engine: Engine, load_stack: Callable[..., Stack], base_image: str, project: str
) -> None:
    stack = load_stack(TOKEN="s3cret", LEVEL="low")
    body = body_of(engine, stack)
    container_id = create_container(engine, f"{project}-reader-1", body)
    write_files(engine, container_id, stack.services["reader"])
    start_container(engine, container_id)
    script = (
        "id -u; cat /run/secrets/mounted /run/secrets/token /run/secrets/private; "
        "cat /etc/made/for/it.conf; echo; stat -c '%a %u' /run/secrets/token /run/secrets/private; "
        "echo x 2>/dev/null >/run/secrets/mounted || echo read-only"
    )
    result = run(engine, container_id, ["bash", "-c", script])
    assert result.stdout.decode().splitlines() == [
        "1234",
        "from a files3crets3cretlevel: low",
        "444 0",
        "400 1234",
        "read-only",
    ]
    inspected = inspect_container(engine, container_id)
    assert inspected is not None
    image = engine.api.inspect_image(base_image)
    assert differences(body, inspected.raw, image) == ()
    changed = body_of(engine, load_stack(TOKEN="another", LEVEL="low"))
    assert differences(changed, inspected.raw, image) == ("secrets or configs",)
