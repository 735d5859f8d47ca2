"""Names and labels of everything that owctl makes on the engine: compose's, so that both see all.

Networks and volumes never get a config-hash: compose would tear down what has a differing one.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from owctl.compose.model import Network, Service, Stack, Volume

_PREFIX = "com.docker.compose."
PROJECT = _PREFIX + "project"
SERVICE = _PREFIX + "service"
ONEOFF = _PREFIX + "oneoff"
CONFIG_HASH = _PREFIX + "config-hash"
NUMBER = _PREFIX + "container-number"
WORKING_DIR = _PREFIX + "project.working_dir"
CONFIG_FILES = _PREFIX + "project.config_files"
ENVIRONMENT_FILE = _PREFIX + "project.environment_file"
DEPENDS_ON = _PREFIX + "depends_on"
IMAGE = _PREFIX + "image"
VOLUME = _PREFIX + "volume"
NETWORK = _PREFIX + "network"
VERSION = _PREFIX + "version"
SPEC_HASH = "io.owctl.spec-hash"
# Of what owctl writes into a container: secrets and configs that are no files of the host.
FILES_HASH = "io.owctl.files-hash"
# Compose has no label that says which folder a volume belongs to, and volumes outlive containers.
VOLUME_OWNER = "io.owctl.working-dir"

# The compose whose behaviour the labels follow; compose itself reads it from nowhere.
COMPOSE_VERSION = "2.26.1"


def container_name(stack: Stack, service: Service, number: int) -> str:
    """Return the container's name: the declared one, else ``<project>-<service>-<number>``."""
    return service.container_name or f"{stack.project}-{service.name}-{number}"


def container_labels(stack: Stack, service: Service, number: int, image_id: str) -> dict[str, str]:
    """Return compose's labels for a container, with the labels that the files declare."""
    from owctl.compose.config_hash import config_hash

    labels = dict(service.labels)
    labels |= {
        PROJECT: stack.project,
        SERVICE: service.name,
        VERSION: COMPOSE_VERSION,
        WORKING_DIR: str(stack.working_dir),
        CONFIG_FILES: ",".join(str(path) for path in stack.config_files),
        ONEOFF: "False",
        NUMBER: str(number),
        CONFIG_HASH: config_hash(service),
        DEPENDS_ON: _dependencies(service),
        IMAGE: image_id,
    }
    if service.files:
        labels[FILES_HASH] = files_hash(service)
    if stack.environment_files:
        labels[ENVIRONMENT_FILE] = ",".join(str(path) for path in stack.environment_files)
    return labels


def network_labels(stack: Stack, network: Network) -> dict[str, str]:
    """Return the labels of a network that owctl makes."""
    return {
        **network.labels,
        PROJECT: stack.project,
        NETWORK: network.key,
        VERSION: COMPOSE_VERSION,
    }


def volume_labels(stack: Stack, volume: Volume) -> dict[str, str]:
    """Return the labels of a volume that owctl makes."""
    return {
        **volume.labels,
        PROJECT: stack.project,
        VOLUME: volume.key,
        VERSION: COMPOSE_VERSION,
        VOLUME_OWNER: str(stack.working_dir),
    }


def image_labels(project: str, service: str) -> dict[str, str]:
    """Return the labels of an image that is built here."""
    return {PROJECT: project, SERVICE: service, VERSION: COMPOSE_VERSION}


def spec_hash(body: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a container's create body, its labels left out."""
    document = {key: value for key, value in body.items() if key != "Labels"}
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def files_hash(service: Service) -> str:
    """Return the SHA-256 of the files that are written into a service's containers."""
    files = [(f.target, f.mode, f.uid, f.gid, f.content) for f in service.files]
    return hashlib.sha256(json.dumps(files).encode()).hexdigest()


def _dependencies(service: Service) -> str:
    return ",".join(
        f"{edge.service}:{edge.condition}:{str(edge.restart).lower()}"
        for edge in service.depends_on
    )
