"""A registry of the tests' own on this machine, and versions of images to put into it."""

import io
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
import httpx

from tests.unit.needed_programs import program

VERSION_LABEL = "org.opencontainers.image.version"
_CONFIGURATION = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {folder}}}}}
http: {{addr: 127.0.0.1:{port}}}
"""


class Registry:
    """A registry that runs; ``address`` is what the names of its images begin with."""

    def __init__(self, port: int) -> None:
        self.address = f"127.0.0.1:{port}"

    def name(self, service: str) -> str:
        """The name of a service's image, as the tests' compose file has it."""
        return f"{self.address}/stack/{service}:latest"

    def publish(self, service: str, version: str, *lines: str) -> str:
        """Put a new version of a service's image under its name; the engine knows nothing of it yet.

        ``lines`` are further ones of its Dockerfile. Returns the image's id.
        """
        name = self.name(service)
        text = "\n".join([f"FROM {name}-base", f"LABEL {VERSION_LABEL}={version}", *lines])
        client = docker.from_env()
        try:
            before = client.images.get(name).id if client.images.list(name) else None
            image, _ = client.images.build(fileobj=io.BytesIO(text.encode()), tag=name, rm=True)
            for event in client.api.push(name, stream=True, decode=True):
                assert "error" not in event, event
            if before is not None:
                client.api.tag(before, name.removesuffix(":latest"), "latest")
            return str(image.id)
        finally:
            client.close()

    def remove_images(self) -> None:
        """Take the registry's names, and images that have no other, from the engine."""
        client = docker.from_env()
        try:
            for image in client.images.list(filters={"reference": f"{self.address}/*/*"}):
                for tag in image.tags:
                    if tag.startswith(self.address):
                        client.images.remove(tag, force=True)
        finally:
            client.close()


@contextmanager
def running_registry(folder: Path, port: int) -> Iterator[Registry]:
    """Run a registry for a block."""
    server = program("docker-registry", "docker-registry")
    configuration = folder / "registry.yml"
    configuration.write_text(_CONFIGURATION.format(folder=folder / "data", port=port))
    registry = Registry(port)
    with (
        (folder / "registry.log").open("wb") as log,
        subprocess.Popen([server, "serve", str(configuration)], stdout=log, stderr=log) as process,
    ):
        try:
            transport = httpx.HTTPTransport(retries=10)
            with httpx.Client(transport=transport, timeout=30) as client:
                assert client.get(f"http://{registry.address}/v2/").status_code == 200
            yield registry
        finally:
            registry.remove_images()
            process.terminate()
