"""The compose files that owctl ships, and .env.example, say the same and are safe by default."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "compose"
SECRETS = {"WEBUI_SECRET_KEY", "POSTGRES_PASSWORD", "REDIS_PASSWORD"}
INSIDE = {"postgres": 5432, "redis": 6379, "rust-backend": 8080, "socketio-bridge": 8081}
# `$$` is a dollar sign for the container's shell; what follows it is not ours to fill in.
VARIABLE = re.compile(r"\$\$|\$\{(?P<name>[A-Z_][A-Z0-9_]*)(?P<operator>:?[-?+])?")
SETTING = re.compile(r"^(?P<comment># )?(?P<name>[A-Z_][A-Z0-9_]*)=(?P<value>.*)$", re.MULTILINE)


class OverrideLoader(yaml.SafeLoader):
    """Reads compose's `!override` as the value that it marks."""


OverrideLoader.add_constructor("!override", lambda loader, node: loader.construct_sequence(node))


def load(name: str) -> dict[str, Any]:
    return yaml.load((COMPOSE / name).read_text(), OverrideLoader)


def variables(name: str) -> set[str]:
    matches = VARIABLE.finditer((COMPOSE / name).read_text())
    return {match["name"] for match in matches if match["name"]}


def example() -> dict[str, str]:
    return {m["name"]: m["value"] for m in SETTING.finditer((ROOT / ".env.example").read_text())}


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    return load("compose.yaml")["services"]


def test_every_variable_is_explained_and_every_explained_variable_is_used() -> None:
    assert variables("compose.yaml") | variables("compose.dev.yaml") == set(example())


def test_every_variable_has_a_comment_above_it() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    commented = False
    for line in lines:
        if SETTING.match(line):
            assert commented, f"{line} has no comment above it"
        else:
            commented = line.startswith("# ") and not line.startswith("# ---")


def test_secrets_are_required_and_have_no_value() -> None:
    text = (COMPOSE / "compose.yaml").read_text()
    for match in VARIABLE.finditer(text):
        if match["name"] in SECRETS:
            assert match["operator"] == ":?", match
    assert {name: example()[name] for name in SECRETS} == dict.fromkeys(SECRETS, "")


def test_the_values_shown_are_the_defaults() -> None:
    text = (COMPOSE / "compose.yaml").read_text()
    development = (COMPOSE / "compose.dev.yaml").read_text()
    for match in SETTING.finditer((ROOT / ".env.example").read_text()):
        if match["name"] not in SECRETS and not match["comment"]:
            assert f"${{{match['name']}:-{match['value']}}}" in text
        if match["name"] in variables("compose.dev.yaml") - variables("compose.yaml"):
            shown = match["value"] or "${POSTGRES_PASSWORD:?}"
            own, derived = f"${{{match['name']}:-{shown}}}", f":-{shown}}}}}"
            assert own in development or derived in development


def test_the_development_stack_keeps_to_itself() -> None:
    development, production = load("compose.dev.yaml"), load("compose.yaml")
    assert development["name"] == f"{production['name']}-dev"
    assert not set(development["volumes"]) & set(production["volumes"])
    assert not set(development["networks"]) & set(production["networks"])
    for name, entry in development["services"].items():
        assert "container_name" not in entry
        assert entry["security_opt"] == ["no-new-privileges:true"]
        (port,) = entry["ports"]
        assert port.startswith("127.0.0.1:${")
        tool = name in ("pgadmin", "redis-commander")
        assert entry.get("profiles") == (["tools"] if tool else None)
    redis = development["services"]["redis"]["command"][-1]
    assert "--maxmemory 256mb --maxmemory-policy allkeys-lru" in redis
    assert "REDIS_PASSWORD:?" not in redis


def test_the_development_stack_has_no_secret_with_a_usable_default() -> None:
    for match in VARIABLE.finditer((COMPOSE / "compose.dev.yaml").read_text()):
        if match["name"] in SECRETS:
            assert match["operator"] == ":?", match


def test_the_demonstrations_development_stack_is_on_its_images() -> None:
    demo = load("compose.demo.dev.yaml")
    assert demo["name"] == f"{load('compose.demo.yaml')['name']}-dev"
    assert {name: entry["image"] for name, entry in demo["services"].items()} == {
        name: f"owctl-demo-{name}:latest" for name in ("postgres", "redis", "socketio-bridge")
    }


def test_the_services_have_the_names_that_the_frontend_asks_for(services: dict[str, Any]) -> None:
    assert list(services) == [*INSIDE, "frontend"]


@pytest.mark.parametrize("service", [*INSIDE, "frontend"])
def test_a_service_is_confined(services: dict[str, Any], service: str) -> None:
    entry = services[service]
    assert "container_name" not in entry
    assert entry["restart"] == "unless-stopped"
    assert entry["security_opt"] == ["no-new-privileges:true"]
    assert entry["deploy"]["resources"]["limits"]["memory"]
    assert set(entry["logging"]["options"]) == {"max-size", "max-file"}


@pytest.mark.parametrize("service", [*INSIDE, "frontend"])
def test_a_service_says_how_its_readiness_is_proven(services: dict[str, Any], service: str) -> None:
    probe = services[service]["x-owctl"]["probe"]
    assert probe["port"] == INSIDE.get(service, 8080)
    assert services[service]["healthcheck"]["test"][0] == "CMD-SHELL"


@pytest.mark.parametrize("service", list(INSIDE))
def test_a_service_behind_the_frontend_is_published_on_this_machine_only(
    services: dict[str, Any], service: str
) -> None:
    (port,) = services[service]["ports"]
    assert port.startswith("127.0.0.1:${")
    assert port.endswith(f"}}:{INSIDE[service]}")


def test_the_port_inside_a_container_does_not_vary(services: dict[str, Any]) -> None:
    assert services["rust-backend"]["environment"]["PORT"] == "8080"
    assert services["socketio-bridge"]["environment"]["SOCKETIO_PORT"] == "8081"
    assert services["frontend"]["environment"]["PORT"] == "8080"


@pytest.mark.parametrize("service", [*INSIDE, "frontend"])
def test_no_secret_is_on_a_command_line(services: dict[str, Any], service: str) -> None:
    entry = services[service]
    command_lines = [
        *entry.get("command", []),
        *entry.get("entrypoint", []),
        *entry["healthcheck"]["test"],
    ]
    for line in command_lines:
        filled_in = {match["name"] for match in VARIABLE.finditer(line)}
        assert not filled_in & SECRETS


def test_images_of_the_databases_are_pinned(services: dict[str, Any]) -> None:
    assert services["postgres"]["image"] == "${POSTGRES_IMAGE:-postgres:16-alpine}"
    assert services["redis"]["image"] == "${REDIS_IMAGE:-redis:7-alpine}"


def test_the_demonstration_overrides_every_service_under_a_name_of_its_own(
    services: dict[str, Any],
) -> None:
    demo = load("compose.demo.yaml")
    assert demo["name"] != load("compose.yaml")["name"]
    assert set(demo["services"]) == set(services)
    for service, entry in demo["services"].items():
        assert entry["image"] == f"owctl-demo-{service}:latest"
        dockerfile = (COMPOSE / entry["build"]["context"] / "Dockerfile").read_text()
        assert "\nARG BASE_IMAGE=debian:bookworm-slim\nFROM ${BASE_IMAGE}\n" in dockerfile


def test_the_demonstrations_python_images_share_their_first_layers() -> None:
    def beginning(service: str) -> str:
        text = (COMPOSE / "demo" / service / "Dockerfile").read_text()
        return text[text.index("ARG ") : text.index("COPY ")]

    assert beginning("rust-backend") == beginning("socketio-bridge")


def test_the_override_for_scaling_leaves_the_choice_of_host_ports_to_the_engine() -> None:
    scaled = load("compose.scale.yaml")["services"]
    assert {name: entry["ports"] for name, entry in scaled.items()} == {
        "rust-backend": ["127.0.0.1::8080"],
        "socketio-bridge": ["127.0.0.1::8081"],
    }
