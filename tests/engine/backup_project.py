"""A project shaped as upstream's, in a folder of another name, for the tests of backup."""

import io
import json
import os
import secrets
import tarfile
from pathlib import Path

import pytest
from engine_helpers import wait_until

from owctl.compose.model import Dependency, Mount, Probe, Service, Stack, Volume
from owctl.engine.archives import write_archive
from owctl.engine.connection import Engine
from owctl.engine.containers import create_container, start_container
from owctl.engine.execution import run

LABEL = "com.docker.compose."
VOLUMES = {
    "postgres": ("postgres_data", "/var/lib/postgresql/data"),
    "redis": ("redis_data", "/data"),
    "rust-backend": ("rust_backend_data", "/app/data"),
}
IMAGES = {
    "postgres": "owctl-demo-postgres:latest",
    "redis": "owctl-demo-redis:latest",
    "rust-backend": "owctl-demo-rust-backend:latest",
}
COMMANDS = {
    "redis": ["redis-server", "--appendonly", "yes", "--requirepass", "swordfish"],
    "rust-backend": ["sleep", "3600"],
}
DATABASE = {
    "POSTGRES_USER": "web",
    "POSTGRES_DB": "chats",
    "POSTGRES_PASSWORD": "correct-horse-battery",
    "POSTGRES_INITDB_ARGS": "--no-sync",
}
DEPENDS_ON = {"rust-backend": (Dependency("postgres"), Dependency("redis"))}
SCHEMA = """
CREATE TABLE "user" (id text PRIMARY KEY, name text);
CREATE TABLE chat (id text PRIMARY KEY, chat jsonb NOT NULL);
CREATE TABLE file (id text PRIMARY KEY, path text NOT NULL);
INSERT INTO "user" SELECT i::text, E'two\\nlines\\\\. ' || i FROM generate_series(1, 50) i;
INSERT INTO chat SELECT i::text, jsonb_build_object('text', repeat(md5(i::text), 40))
  FROM generate_series(1, 2000) i;
INSERT INTO file VALUES ('f1', '/app/data/uploads/f1'), ('f2', '/app/data/uploads/ü f2');
"""


COMPOSE = f"""
services:
  postgres:
    image: {IMAGES["postgres"]}
    environment: {json.dumps(DATABASE)}
    network_mode: none
    volumes: ["postgres_data:/var/lib/postgresql/data"]
  redis:
    image: {IMAGES["redis"]}
    volumes: ["redis_data:/data"]
  rust-backend:
    image: {IMAGES["rust-backend"]}
    depends_on: [postgres, redis]
    init: true
    x-owctl: {{probe: {{type: none}}}}
    volumes: ["rust_backend_data:/app/data"]
volumes: {{postgres_data: , redis_data: , rust_backend_data: }}
"""


class Project:
    """Containers, volumes and folder of one stack; ``remove`` takes all of it away again."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.engine = engine
        self.name = f"owctl-test-{secrets.token_hex(4)}"
        self.folder = folder
        (folder / "docker-compose.yaml").write_text(COMPOSE)
        (folder / ".env").write_text("WEBUI_SECRET_KEY=secret\n")
        self.containers: dict[str, str] = {}
        for key, _ in VOLUMES.values():
            self.volume(key)

    @property
    def stack(self) -> Stack:
        services = {
            name: Service(
                name,
                image=image,
                container_name=f"{self.name}-fixed-{name}",
                mounts=(Mount("volume", VOLUMES[name][1], VOLUMES[name][0]),),
                environment=DATABASE if name == "postgres" else {},
                network_mode="none",
                depends_on=DEPENDS_ON.get(name, ()),
                probe=Probe("none") if name == "rust-backend" else None,
            )
            for name, image in IMAGES.items()
        }
        return Stack(
            project=self.name,
            working_dir=self.folder,
            config_files=(self.folder / "docker-compose.yaml",),
            environment_files=(self.folder / ".env",),
            services=services,
            networks={},
            volumes={key: Volume(key, f"{self.name}_{key}") for key, _ in VOLUMES.values()},
        )

    def volume(self, key: str) -> None:
        labels = {LABEL + "project": self.name, LABEL + "volume": key}
        self.engine.api.create_volume(f"{self.name}_{key}", labels=labels)

    def start(self, service: str, config: dict[str, object] | None = None, **host: object) -> str:
        if not self.engine.api.images(IMAGES[service]):
            missing = f"the image {IMAGES[service]} has not been built"
            pytest.fail(missing) if os.environ.get("OWCTL_REQUIRE_DOCKER") else pytest.skip(missing)
        key, target = VOLUMES[service]
        mount = {"Type": "volume", "Source": f"{self.name}_{key}", "Target": target}
        body = {
            "Image": IMAGES[service],
            "Env": [f"{name}={value}" for name, value in DATABASE.items()],
            "Labels": {
                LABEL + "project": self.name,
                LABEL + "service": service,
                LABEL + "oneoff": "False",
                LABEL + "container-number": "1",
            },
            # Everything goes through exec and sockets, so no network is needed.
            "HostConfig": {"NetworkMode": "none", "Mounts": [mount], **host},
        }
        if service in COMMANDS:
            body["Cmd"] = COMMANDS[service]
        if service == "rust-backend":
            body["Entrypoint"] = []
            # Or sleep, as process 1, would not hear that it is to end.
            body["HostConfig"]["Init"] = True
        body.update(config or {})
        container = create_container(self.engine, f"{self.name}-fixed-{service}", body)
        start_container(self.engine, container)
        self.containers[service] = container
        return container

    def start_database(self, schema: str = SCHEMA) -> None:
        self.start("postgres")
        self.wait_for_database()
        self.sql(schema)

    def wait_for_database(self) -> None:
        def ready() -> bool:
            argv = ["pg_isready", "-q", "-h", "127.0.0.1", "-U", "web", "-d", "chats"]
            return run(self.engine, self.containers["postgres"], argv).exit_code == 0

        wait_until(ready, "PostgreSQL is ready", timeout_seconds=60)

    def sql(self, statements: str) -> str:
        argv = ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "web", "chats"]
        answer = run(self.engine, self.containers["postgres"], argv, stdin=statements.encode())
        assert answer.exit_code == 0, answer.stderr.decode()
        return answer.stdout.decode().strip()

    def put(self, service: str, folder: str, files: dict[str, bytes]) -> None:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for name, content in files.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
        write_archive(self.engine, self.containers[service], folder, buffer.getvalue())

    def processes(self, service: str) -> str:
        answer = self.engine.api.top(self.containers[service], ps_args="-eo pid,args")
        return "\n".join(" ".join(row) for row in answer["Processes"])

    def remove(self) -> None:
        api, labelled = self.engine.api, {"label": f"{LABEL}project={self.name}"}
        for container in api.containers(all=True, filters=labelled):
            api.remove_container(container["Id"], force=True, v=True)
        for volume in api.volumes(filters=labelled)["Volumes"] or []:
            api.remove_volume(volume["Name"])
