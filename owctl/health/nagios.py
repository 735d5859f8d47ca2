"""A health report by the rules of monitoring plugins: one line, and 0, 1, 2 or 3."""

from owctl.health.result import HealthReport, printable

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
