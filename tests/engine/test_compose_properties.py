"""Generated files come out of owctl's loader as they come out of docker compose's.

One run of compose reads a file of some dozens of cases. OWCTL_EXAMPLES=200 makes the run longer;
then it is random, else it is the same every time. Left out of what is generated is what owctl
refuses on purpose (docs/compose-files.md) and what compose refuses.
"""

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from owctl.commands.config import printable_spec
from owctl.compose.config_hash import config_hash
from owctl.compose.loader import load
from owctl.environment.dotenv import parse_environment
from owctl.environment.interpolation import InterpolationError, substitute
from owctl.settings import Flags, Settings
from tests.engine.compose_files_generated import services
from tests.unit.compose_meanings import MEANINGS
from tests.unit.test_compose_meanings import found_at

pytestmark = pytest.mark.engine

ROOT = Path(__file__).parents[2]
EXAMPLES = int(os.environ.get("OWCTL_EXAMPLES", "0"))
VARIABLES = {"A": "aa", "B": "", "LONG_1": "x y", "D": "$A", "_u": "u}{", "Q": "q\"\\'"}

# Every example is new, and shrinking would take minutes: the failure shows the one case that differs.
generated = settings(
    max_examples=EXAMPLES or 12,
    derandomize=not EXAMPLES,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def compose(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str | None]:
    """Run docker compose in a folder; None if it refuses the files."""
    done = subprocess.run([ROOT / "scripts" / "compose-plugin"], capture_output=True, text=True)
    if done.returncode:
        reason = f"scripts/compose-plugin failed: {done.stderr[-500:]}"
        if os.environ.get("OWCTL_REQUIRE_DOCKER") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    folder = done.stdout.strip()
    program = Path(folder) / "cli-plugins" / "docker-compose"

    def run(working_dir: Path, *arguments: str, **variables: str) -> str | None:
        environ = {"PATH": os.environ["PATH"], "HOME": "/root", "DOCKER_CONFIG": folder}
        result = subprocess.run(
            [program, "-p", "test", *arguments],
            cwd=working_dir,
            env=environ | variables,
            capture_output=True,
            text=True,
        )
        print(result.stderr)  # pytest shows it where a test fails  # noqa: T201
        return result.stdout if result.returncode == 0 else None

    return run


def test_what_is_easily_missed(compose: Callable[..., str | None], tmp_path: Path) -> None:
    """Compose says of each of tests/unit/compose_meanings.py what is written there."""
    wrong: list[str] = []
    for number, meaning in enumerate(MEANINGS):
        folder = tmp_path / str(number)
        folder.mkdir()
        files = [f"file{index}.yaml" for index in range(len(meaning.texts))]
        for name, text in zip(files, meaning.texts, strict=True):
            (folder / name).write_text(text)
        flags = [word for name in files for word in ("-f", name)]
        printed = compose(folder, *flags, "config", "--format", "json", **meaning.variables)
        if meaning.refused or printed is None:
            if bool(meaning.refused) != (printed is None):
                wrong.append(f"{meaning.name}: {printed}")
            continue
        value = meaning.value
        value = value.replace("FOLDER", str(folder)) if isinstance(value, str) else value
        found = found_at(json.loads(printed), meaning.place)
        if found != value:
            wrong.append(f"{meaning.name}: {found}")
    assert not wrong


NAMES = st.sampled_from([*VARIABLES, "UNSET", "a"])
LITERALS = st.sampled_from(
    [
        "",
        "a",
        "b c",
        " ",
        "{",
        "}",
        "{}",
        "$$",
        "-",
        ":",
        "?",
        "+",
        "é",
        "$",
        "\\",
        '"',
        "'",
        "#",
        "$1",
    ]
)
BROKEN = st.sampled_from(
    ["${", "${}", "${1}", "${A!x}", "${A:x}", "${ A}", "${A }", "${A", "${-x}"]
)


def references(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    operators = st.sampled_from([":-", "-", ":?", "?", ":+", "+"])
    return st.builds(lambda *parts: "${" + "".join(parts) + "}", NAMES, operators, inner)


PLAIN = st.one_of(LITERALS, NAMES.map("${}".format), NAMES.map("${{{}}}".format))
TEMPLATES = st.recursive(
    st.one_of(PLAIN, PLAIN, PLAIN, BROKEN),
    lambda inner: st.lists(st.one_of(inner, references(inner)), min_size=1, max_size=4).map(
        "".join
    ),
    max_leaves=6,
)


@generated
@given(templates=st.lists(TEMPLATES, min_size=30, max_size=40))
def test_interpolation(
    compose: Callable[..., str | None], tmp_path: Path, templates: list[str]
) -> None:
    expected: dict[str, str] = {}
    refused: list[str] = []
    for template in templates:
        try:
            expected[template] = substitute(template, VARIABLES)
        except InterpolationError:
            refused.append(template)
    found = interpolated(compose, tmp_path, list(expected))
    assert found is not None, f"compose refuses one of {list(expected)}"
    assert dict(zip(expected, found, strict=True)) == expected
    for template in refused[:2]:
        assert interpolated(compose, tmp_path, [template]) is None, template


def interpolated(
    compose: Callable[..., str | None], folder: Path, templates: list[str]
) -> list[str] | None:
    document = {"services": {"a": {"image": "x", "labels": {}}}}
    document["services"]["a"]["labels"] = {f"k{i}": text for i, text in enumerate(templates)}
    (folder / "file.yaml").write_text(json.dumps(document))
    printed = compose(folder, "-f", "file.yaml", "config", "--format", "json", **VARIABLES)
    if printed is None:
        return None
    labels = json.loads(printed)["services"]["a"].get("labels", {})
    return [labels[f"k{index}"].replace("$$", "$") for index in range(len(templates))]


KEYS = st.sampled_from(["K0", "K1", "KEY_2", "k.3", "K-4", "5K", "é"])
FRAGMENTS = st.lists(
    st.sampled_from(
        [
            "a",
            "b c",
            " ",
            "$K0",
            "${K1}",
            "${NO:-d}",
            "${A}",
            "\\n",
            "\\t",
            "\\\\",
            '\\"',
            "\\'",
            "\\$K0",
            "#x",
            " #x",
            "$$",
            "=",
            ":",
            "é",
            "${B:-z}",
            "${B-z}",
            "\\x",
            "`",
            "{",
            "}",
            "\t",
            "\u00a0",
        ]
    ),
    max_size=4,
).map("".join)
QUOTED = st.one_of(
    FRAGMENTS.map(lambda text: '"' + text.replace("\\'", "") + '"'),
    FRAGMENTS.map(lambda text: "'" + text.replace('\\"', "") + "'"),
    FRAGMENTS.map(lambda text: f'"{text}\n more"'),
)
COMMENTS = st.sampled_from(["", "", " # comment", "  ", "\t", "\r"])
UNQUOTED = FRAGMENTS.filter(lambda text: text.strip("\t \u00a0")[:1] not in ("'", '"'))
ASSIGNMENTS = st.builds(
    lambda *parts: "".join(parts),
    st.sampled_from(["", "", " ", "export ", "export\t"]),
    KEYS,
    st.sampled_from(["=", "=", " = ", ": "]),
    st.one_of(UNQUOTED, QUOTED),
    COMMENTS,
)
LINES = st.one_of(
    ASSIGNMENTS,
    ASSIGNMENTS,
    ASSIGNMENTS,
    st.sampled_from(["# comment", "", "A", "NOBODY", "export A"]),
)


@generated
@given(files=st.lists(st.lists(LINES, max_size=5), min_size=30, max_size=40))
def test_environment_files(
    compose: Callable[..., str | None], tmp_path: Path, files: list[list[str]]
) -> None:
    expected: dict[str, dict[str, str]] = {}
    for lines in files:
        text = "".join(f"{line}\n" for line in lines)
        read = parse_environment(text, {**VARIABLES, "HOME": "/root"}, "file.env")
        if not read.problems:
            expected[text] = read.values
    given = environments(compose, tmp_path, list(expected))
    assert given is not None, f"compose refuses one of {files}"
    for (text, values), theirs in zip(expected.items(), given, strict=True):
        assert theirs == values, text


PIECES = st.sampled_from(
    [
        *(
            "K0=",
            "K1: ",
            "export k.2=",
            "K-3 = ",
            "A=",
            "=",
            ":",
            "export",
            "export ",
            "A",
            "é",
            "x",
        ),
        *("'", "'", '"', '"', "\\'", '\\"', "\\\\", "\\n", "\\c", "\\x", "\\$K0", "\\"),
        *(
            "\\0101",
            "\\0777",
            "\\08",
            "\\0",
            "$K0",
            "${K1:-d}",
            "$$",
            "${",
            "#",
            " #",
            "# c",
            "[",
            "b c",
        ),
        *(" ", "\t", "\r", "\v", "\f", "\x85", "\xa0", "\u2003", "\u2028", "\x1c", "\r\n"),
    ]
)
VALUES = st.lists(PIECES, max_size=4).map("".join)
LOOSE_LINES = st.one_of(
    LINES,
    VALUES,
    st.builds("K0={0}{1}{0}{2}".format, st.sampled_from("'\""), VALUES, COMMENTS),
    st.builds("K1: {0}{1}\n{2}{0}".format, st.sampled_from("'\""), VALUES, VALUES),
)
LOOSE_TEXTS = st.lists(
    st.builds("{}{}".format, LOOSE_LINES, st.sampled_from(["\n", "\n", "\r\n"])), max_size=5
).map("".join)


@generated
@given(texts=st.lists(LOOSE_TEXTS, min_size=40, max_size=40))
def test_environment_files_of_odd_text(
    compose: Callable[..., str | None], tmp_path: Path, texts: list[str]
) -> None:
    environ = {**VARIABLES, "HOME": "/root"}
    read = {text: parse_environment(text, environ, "file.env") for text in texts}
    taken = [text for text, found in read.items() if not found.problems]
    given = environments(compose, tmp_path, taken)
    assert given is not None, f"compose refuses one of {taken}"
    for text, values in zip(taken, given, strict=True):
        assert read[text].values == values, text
    refused = [text for text, found in read.items() if found.problems]
    for text in refused[:4]:
        messages = " ".join(problem.message for problem in read[text].problems)
        alone = environments(compose, tmp_path, [text])
        # Compose takes what follows a closing quote for another statement, and these for names.
        if alone is not None and "after the closing quote" not in messages:
            assert any(key == "" or re.search(r"\s", key) for key in alone[0]), text


def environments(
    compose: Callable[..., str | None], folder: Path, texts: list[str]
) -> list[dict[str, str]] | None:
    """Return what compose reads from files of these texts; None if it refuses one."""
    document: dict[str, Any] = {"services": {}}
    for index, text in enumerate(texts):
        (folder / f"{index}.env").write_text(text, newline="")
        document["services"][f"s{index}"] = {"image": "x", "env_file": f"{index}.env"}
    (folder / "file.yaml").write_text(json.dumps(document))
    printed = compose(folder, "-f", "file.yaml", "config", "--format", "json", **VARIABLES)
    if printed is None:
        return None
    services = json.loads(printed)["services"]
    return [
        {
            key: value.replace("$$", "$")
            for key, value in services[f"s{index}"].get("environment", {}).items()
        }
        for index in range(len(texts))
    ]


@generated
@given(documents=services())
def test_merging(
    compose: Callable[..., str | None], tmp_path: Path, documents: tuple[Any, Any]
) -> None:
    for name, document in zip(("one.yaml", "two.yaml"), documents, strict=True):
        (tmp_path / name).write_text(yaml.dump(document, Dumper=TaggingDumper, sort_keys=False))
    (tmp_path / "one.env").write_text("A=file1\nF=$V\n")
    (tmp_path / "two.env").write_text("A=file2\nG='q'\nW=${A}\n")
    arguments = ("-f", "one.yaml", "-f", "two.yaml", "config")
    printed = compose(tmp_path, *arguments, "--format", "json", V="vv")
    hashes = compose(tmp_path, *arguments, "--hash", "*", V="vv")
    assert printed is not None, documents
    assert hashes is not None
    flags = Flags(files=(Path("one.yaml"), Path("two.yaml")), project_name="test")
    stack = load(Settings.load(flags, {"HOME": "/root", "V": "vv"}, tmp_path))
    theirs, ours = json.loads(printed), json.loads(json.dumps(printable_spec(stack)))
    for name, service in theirs["services"].items():
        given = [document["services"].get(name) for document in documents]
        assert ours["services"].get(name) == service, given
    assert ours == theirs
    printed_hashes = dict(line.split() for line in hashes.splitlines())
    for name, service in stack.services.items():
        # What --hash prints counts env_file itself, unlike the hash that compose puts on containers.
        if not any("env_file" in document["services"].get(name, {}) for document in documents):
            assert config_hash(service) == printed_hashes[name], documents


class TaggingDumper(yaml.SafeDumper):
    """Writes ("!override", value) and ("!reset", value) as tagged values, and no aliases."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _tagged(dumper: yaml.SafeDumper, value: tuple[str, Any]) -> yaml.Node:
    tag, content = value
    node = dumper.represent_data(content)
    if isinstance(node, yaml.ScalarNode):
        return dumper.represent_scalar(tag, node.value)
    node.tag = tag
    return node


TaggingDumper.add_representer(tuple, _tagged)
