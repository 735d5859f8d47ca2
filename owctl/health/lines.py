"""A report as lines for a reader: its containers, then its deep checks."""

from typing import NamedTuple

from owctl.health.result import HealthReport


class Line(NamedTuple):
    """What a watcher sees of a container or a deep check in one round."""

    name: str
    status: str
    latency_ms: float | None
    detail: str


def lines_of(report: HealthReport) -> list[Line]:
    """Return a report's lines; several containers of a service are told apart by their names."""
    services = [row.service for row in report.services]

    def name_of(service: str, container: str | None) -> str:
        if services.count(service) > 1 and container is not None:
            return container.removeprefix(f"{report.project}-")
        return service

    lines = [
        Line(name_of(row.service, row.container), row.status, row.latency_ms, row.detail)
        for row in report.services
    ]
    return lines + [
        Line(
            f"{name_of(check.service, check.container)} {check.check}",
            check.status,
            check.latency_ms,
            check.detail,
        )
        for check in report.deep or ()
    ]
