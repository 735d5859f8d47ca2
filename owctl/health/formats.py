"""Health for other programs: Prometheus' text, and the line and exit code of a Nagios plugin."""

import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from owctl.errors import OwctlError
from owctl.health.result import HealthReport, printable
from owctl.project.private_file import cannot

# -- A health report by the rules of monitoring plugins: one line, and 0, 1, 2 or 3.


OK, WARNING, CRITICAL, UNKNOWN = range(4)
_WORDS = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
_MAX_NAMED = 5


def plugin_result(report: HealthReport) -> tuple[int, str]:
    """Return the exit code and the line.

    Services that only start are a WARNING, as is a deep check that fails where every service
    answers; anything else that is not healthy is CRITICAL.
    """
    rows = [row for row in report.services if row.status != "healthy"]
    failed = [check for check in report.deep or () if check.status == "unhealthy"]
    if not report.services:
        return UNKNOWN, _line(UNKNOWN, f"{report.project}: there is nothing to ask")
    code = OK
    if rows or failed:
        code = WARNING if all(row.status == "starting" for row in rows) else CRITICAL
    complaints = [f"{row.container or row.service} {row.status} ({row.detail})" for row in rows]
    complaints += [f"{check.service} {check.check} ({check.detail})" for check in failed]
    total = len(report.services)
    text = f"{report.project}: {total - len(rows)} of {total} healthy"
    if complaints:
        more = len(complaints) - _MAX_NAMED
        text += "; " + ", ".join(complaints[:_MAX_NAMED]) + (f", {more} more" if more > 0 else "")
    return code, f"{_line(code, text)} | {_performance(report)}"


def unknown_line(why: str) -> str:
    """Return the line for a check that could not be made."""
    return _line(UNKNOWN, why)


def _line(code: int, text: str) -> str:
    # A bar would begin the performance data.
    return f"{_WORDS[code]} - {printable(text, 2_000).replace('|', '/')}"


def _performance(report: HealthReport) -> str:
    total = len(report.services)
    healthy = sum(row.status == "healthy" for row in report.services)
    values = [f"healthy={healthy};;{total}:;0;{total}"]
    asked = [(row.container or row.service, row.latency_ms) for row in report.services]
    asked += [
        (f"{check.container or check.service} {check.check}", check.latency_ms)
        for check in report.deep or ()
    ]
    values += [
        f"{_label(name)}={latency_ms / 1000:.4f}s;;;0"
        for name, latency_ms in asked
        if latency_ms is not None
    ]
    return " ".join(values)


def _label(name: str) -> str:
    quoted = name.replace("'", "''").replace("=", "-")
    return f"'{quoted}'"


# -- A health report in Prometheus' text exposition format, and the file that an exporter reads.


# The exporter runs as another user.
FILE_MODE = 0o644
_HELP = {
    "owctl_service_up": "Whether the service answers in its own protocol.",
    "owctl_service_probe_duration_seconds": "How long the service's probe took.",
    "owctl_service_deep_check_up": "Whether the deep check of the service succeeds.",
    "owctl_service_deep_check_duration_seconds": "How long the deep check took.",
    "owctl_stack_healthy": "Whether every service that was asked is healthy.",
    "owctl_health_checked_timestamp_seconds": "When the stack was asked, in Unix time.",
}
Samples = list[tuple[Mapping[str, str], float]]


def exposition(report: HealthReport) -> str:
    """Return the report as gauges, each with HELP and TYPE; it ends with a newline."""
    # The library's own registry would add what it counts of this process.
    registry = CollectorRegistry()
    registry.register(_Reported(report))
    return generate_latest(registry).decode()


class _Reported(Collector):
    """Hands a report's gauges to prometheus_client; a family without samples is not announced."""

    def __init__(self, report: HealthReport) -> None:
        self.families = _families(report)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        for name, samples in self.families.items():
            if samples:
                family = GaugeMetricFamily(name, _HELP[name], labels=list(samples[0][0]))
                for labels, value in samples:
                    family.add_metric(list(labels.values()), round(value, 6))
                yield family


def _families(report: HealthReport) -> dict[str, Samples]:
    project = {"project": report.project}
    rows = [
        (project | {"service": row.service, "container": row.container or ""}, row)
        for row in report.services
    ]
    checks = [
        (
            project
            | {"service": each.service, "container": each.container or "", "check": each.check},
            each,
        )
        for each in report.deep or ()
        if each.status != "skipped"
    ]
    return {
        "owctl_service_up": [(labels, row.status == "healthy") for labels, row in rows],
        "owctl_service_probe_duration_seconds": [
            (labels, row.latency_ms / 1000) for labels, row in rows if row.latency_ms is not None
        ],
        "owctl_service_deep_check_up": [
            (labels, check.status == "healthy") for labels, check in checks
        ],
        "owctl_service_deep_check_duration_seconds": [
            (labels, check.latency_ms / 1000)
            for labels, check in checks
            if check.latency_ms is not None
        ],
        "owctl_stack_healthy": [(project, report.status == "healthy")],
        "owctl_health_checked_timestamp_seconds": [(project, report.checked_at.timestamp())],
    }


def write_exposition(path: Path, text: str) -> None:
    """Put the text in place of the file, at once and readable by everybody.

    A symbolic link stays one. Raises OwctlError where that cannot be done.
    """
    target = path.resolve()
    # Its name must not end in .prom, or the exporter would read it half written.
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        if target.exists() and not target.is_file():
            raise OwctlError(
                f"Cannot write {path}: it is not a file.", hint="--output with the path of a file"
            )
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                # Whatever the umask is.
                os.fchmod(descriptor, FILE_MODE)
                file.write(text)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise cannot("write", path, error) from error
