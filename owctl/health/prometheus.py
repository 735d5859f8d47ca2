"""A health report in Prometheus' text exposition format, and the file that an exporter reads."""

import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from owctl.errors import OwctlError
from owctl.health.result import HealthReport
from owctl.project.private_file import cannot

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
