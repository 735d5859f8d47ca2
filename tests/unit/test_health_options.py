"""Options of `owctl health` that do not go together, and who is told in which form."""

import pytest

from owctl.cli import run


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["--watch", "--wait"], "one of them"),
        (["--watch", "--format", "prometheus"], "owctl health --watch --json"),
        (["--timeout", "5"], "--probe-timeout"),
        (["--interval", "5"], "--watch --interval"),
        (["--output", "x.prom"], "--format prometheus --output x.prom"),
        (["--wait", "--timeout", "0"], "owctl health --help"),
    ],
)
def test_nonsense_is_a_usage_error_with_a_way_out(arguments, hint, capsys):
    assert run(["health", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert f"Try: {hint}" in err or hint in err.partition("Try: ")[2]


@pytest.mark.parametrize(
    "arguments",
    [["--wait"], ["--watch"], ["--no-such-option"], ["--probe-timeout", "x"], ["no-such-service"]],
)
def test_a_plugin_says_even_this_on_stdout_with_3(arguments, capsys, tmp_path):
    (tmp_path / "compose.yaml").write_text("services: {redis: {image: redis}}\n")
    assert run(["-C", str(tmp_path), "health", "--format", "nagios", *arguments]) == 3
    out, _ = capsys.readouterr()
    assert out.startswith("UNKNOWN - ")
    assert out.count("\n") == 1


def test_a_plugin_without_an_engine_or_a_project_is_unknown(capsys, tmp_path, monkeypatch):
    assert run(["-C", str(tmp_path / "none"), "health", "--format=nagios"]) == 3
    (tmp_path / "compose.yaml").write_text("services: {redis: {image: redis}}\n")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")
    assert run(["-C", str(tmp_path), "health", "--format=nagios"]) == 3
    (tmp_path / "compose.yaml").write_text("services: {redis: {image: [}}\n")
    assert run(["-C", str(tmp_path), "health", "--format=nagios"]) == 3
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("UNKNOWN - ") for line in lines)
