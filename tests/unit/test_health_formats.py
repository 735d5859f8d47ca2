"""What monitoring systems read: Prometheus' exposition and a plugin's line."""

import os
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from owctl.errors import OwctlError
from owctl.health.deep.subject import DeepCheck
from owctl.health.formats import exposition, plugin_result, unknown_line, write_exposition
from owctl.health.result import HealthReport, ServiceHealth

# Prometheus gives no meaning to the order of labels; here it is the same everywhere.
LABELS = ("project", "service", "container", "check")
NOW = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)


def row(service: str, status: Any, latency_ms: float | None = 2.5, **more: Any) -> ServiceHealth:
    container = None if status == "missing" else f"demo-{service}-1"
    detail = more.get("detail", "what it said")
    return ServiceHealth(service, container, None, None, status, None, None, latency_ms, detail)


def deep(service: str, check: str, status: Any, detail: str = "said") -> DeepCheck:
    latency_ms = None if status == "skipped" else 40.0
    return DeepCheck(service, f"demo-{service}-1", check, status, latency_ms, detail)


def report(*rows: ServiceHealth, checks: tuple[DeepCheck, ...] | None = None, project="demo"):
    return HealthReport(project, NOW, 12.0, rows, checks)


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    found = {}
    for family in text_string_to_metric_families(text):
        assert family.type == "gauge"
        assert family.documentation
        for sample in family.samples:
            labels = sorted(sample.labels.items(), key=lambda label: LABELS.index(label[0]))
            found[sample.name, tuple(labels)] = sample.value
    return found


def test_the_exposition_says_what_the_report_says():
    text = exposition(report(row("db", "healthy"), row("web", "missing", None)))
    assert text.endswith("\n")
    db = (("project", "demo"), ("service", "db"), ("container", "demo-db-1"))
    web = (("project", "demo"), ("service", "web"), ("container", ""))
    assert samples(text) == {
        ("owctl_service_up", db): 1,
        ("owctl_service_up", web): 0,
        ("owctl_service_probe_duration_seconds", db): 0.0025,
        ("owctl_stack_healthy", (("project", "demo"),)): 0,
        ("owctl_health_checked_timestamp_seconds", (("project", "demo"),)): NOW.timestamp(),
    }
    # A family without samples is not announced.
    assert "deep_check" not in text


def test_deep_checks_are_metrics_unless_skipped():
    checks = (deep("db", "login", "unhealthy"), deep("web", "proxy-api", "skipped"))
    found = samples(exposition(report(row("db", "healthy"), checks=checks)))
    labels = (("project", "demo"), ("service", "db"), ("container", "demo-db-1"))
    assert found["owctl_service_deep_check_up", (*labels, ("check", "login"))] == 0
    assert found["owctl_service_deep_check_duration_seconds", (*labels, ("check", "login"))] == 0.04
    assert found["owctl_stack_healthy", (("project", "demo"),)] == 0
    assert not [key for key in found if ("check", "proxy-api") in key[1]]


@pytest.mark.parametrize("project", ['a"b\\c\nd', 'é 日本 😀\u2028{x="y",z} \\n # \\'])
def test_labels_are_escaped(project: str):
    found = samples(exposition(report(row("db", "healthy"), project=project)))
    assert found["owctl_stack_healthy", (("project", project),)] == 1


def test_the_exposition_is_the_same_each_time_and_exact_to_the_millisecond():
    rows = [row(f"s{number}", "healthy", number / 1000) for number in (3, 1, 2)]
    text = exposition(report(*rows))
    assert exposition(report(*rows)) == text
    lines = [line.split(" ") for line in text.splitlines() if line.startswith("owctl_service_up")]
    assert [line[0].split('"')[-2] for line in lines] == ["s3", "s1", "s2"]
    assert "# TYPE owctl_service_up gauge\n" in text
    assert NOW.timestamp() in samples(text).values()
    assert 0.000003 in samples(text).values()


def test_the_file_is_replaced_whole_and_readable(tmp_path: Path):
    target = tmp_path / "owctl.prom"
    target.write_text("old and much longer than what comes after it\n")
    before = target.stat().st_ino
    umask = os.umask(0o077)
    try:
        write_exposition(target, "new 1\n")
    finally:
        os.umask(umask)
    assert target.read_text() == "new 1\n"
    assert stat.S_IMODE(target.stat().st_mode) == 0o644
    assert target.stat().st_ino != before
    assert list(tmp_path.iterdir()) == [target]


def test_a_link_to_the_file_stays_one(tmp_path: Path):
    (tmp_path / "real.prom").write_text("old\n")
    link = tmp_path / "owctl.prom"
    link.symlink_to("real.prom")
    write_exposition(link, "new 1\n")
    assert link.is_symlink()
    assert (tmp_path / "real.prom").read_text() == "new 1\n"


def test_a_place_that_cannot_be_written_is_an_error_with_a_hint(tmp_path: Path):
    with pytest.raises(OwctlError, match="Cannot write") as failure:
        write_exposition(tmp_path / "missing" / "owctl.prom", "new 1\n")
    assert failure.value.hint
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with pytest.raises(OwctlError, match="not a file"):
        write_exposition(fifo, "new 1\n")
    assert stat.S_ISFIFO(fifo.stat().st_mode)
    assert list(tmp_path.iterdir()) == [fifo]


@pytest.mark.parametrize(
    ("statuses", "checks", "code", "word"),
    [
        (["healthy", "healthy"], (), 0, "OK"),
        (["healthy", "starting"], (), 1, "WARNING"),
        (["healthy", "unhealthy"], (), 2, "CRITICAL"),
        (["stopped", "starting"], (), 2, "CRITICAL"),
        (["missing"], (), 2, "CRITICAL"),
        (["healthy"], (deep("s0", "login", "unhealthy"),), 1, "WARNING"),
        (["healthy"], (deep("s0", "login", "skipped"),), 0, "OK"),
        ([], (), 3, "UNKNOWN"),
    ],
)
def test_the_plugins_codes(statuses, checks, code, word):
    rows = [row(f"s{number}", status) for number, status in enumerate(statuses)]
    found, line = plugin_result(report(*rows, checks=checks))
    assert (found, line.split(" - ")[0]) == (code, word)


def test_the_plugins_line_is_one_line_with_performance_data():
    bad = row("redis", "unhealthy", 5.0, detail="said a|b\nand more")
    code, line = plugin_result(report(row("db", "healthy", 2.5), bad))
    assert code == 2
    assert "\n" not in line
    text, _, performance = line.partition(" | ")
    assert text == "CRITICAL - demo: 1 of 2 healthy; demo-redis-1 unhealthy (said a/b and more)"
    assert performance == "healthy=1;;2:;0;2 'demo-db-1'=0.0025s;;;0 'demo-redis-1'=0.0050s;;;0"


def test_what_is_unknown_is_one_line_too():
    assert unknown_line("no\nengine | here") == "UNKNOWN - no engine / here"
