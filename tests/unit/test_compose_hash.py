"""The config hash: golden values that docker compose 2.26.1 printed for the files in tests/data."""

from pathlib import Path

import pytest

from owctl.compose.config_hash import config_hash, go_json
from tests.unit.compose_files import DATA, load_files, load_texts

PRINTED = {
    "docker-compose.yaml": {
        "frontend": "f60e6a8c4d7f501e1c7941dc4e963e8f09ad15b79d84e425db8e7c07c56ef9ee",
        "postgres": "d47bd16d2a0e98d899a4b48041e97fef8d3ca541475f8cbeb86c0687849d5352",
        "redis": "47ce03403ac07705520795fced82fc19f308f503253baf25572022f409526222",
        "rust-backend": "f203b35f3e050c22cffdb8ea741ef06c80ddf4f8cdd790f9b22494b41236ebe9",
        "socketio-bridge": "4883cba73b59e8e015eb0927aff2befe832757fee8ddf1cd600e457b1c4f9fd7",
    },
    "interpolation.yaml": {"a": "282302d171fdd97b49115ab2732693152bcbc24c6529ebb3e31eebf3a212b3c2"},
    "dotenv.yaml": {"a": "680d2bdfdca41ce0a276a7c631dea067bfe11037d2ec13d8bc1a400203353d24"},
}


@pytest.mark.parametrize("name", PRINTED)
def test_hashes_are_those_of_compose(name: str) -> None:
    files = () if name == "docker-compose.yaml" else (DATA / "interpolation.env",)
    stack = load_files(DATA, name, environment_files=files)
    assert {key: config_hash(s) for key, s in stack.services.items()} == PRINTED[name]


def hash_of(folder: Path, lines: str) -> str:
    return config_hash(load_texts(folder, f"services: {{a: {{image: x, {lines}}}}}").services["a"])


@pytest.mark.parametrize(
    "lines", ["build: .", "pull_policy: always", "scale: 3", "x-owctl: {probe: {type: none}}"]
)
def test_what_needs_no_new_container_does_not_count(tmp_path: Path, lines: str) -> None:
    assert hash_of(tmp_path, lines) == hash_of(tmp_path, "")


@pytest.mark.parametrize("lines", ["tty: true", "environment: {A: }", "user: '0'", "init: false"])
def test_everything_else_counts(tmp_path: Path, lines: str) -> None:
    assert hash_of(tmp_path, lines) != hash_of(tmp_path, "")


def test_json_is_written_as_go_writes_it() -> None:
    assert go_json({"a": "<é&\u2028\n>", "b": [None, 0.5, True]}) == (
        '{"a":"\\u003cé\\u0026\\u2028\\n\\u003e","b":[null,0.5,true]}'
    )
