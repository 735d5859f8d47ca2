"""Where one owctl command spends its time: imports, waiting for the engine, the rest.

Run as a program it is owctl itself with a stopwatch on every request to the engine:
`python -X importtime -m bench.breakdown start` prints one JSON line on stderr at the end.
"""

import http.client
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
MARK = "owctl-bench-breakdown "
_SELF_TIME = re.compile(r"^import time:\s+(\d+) \|", re.MULTILINE)
_READY = re.compile(r"^(\S+) .*? (\d+\.\d) s\b", re.MULTILINE)
SLOWEST_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Request:
    """One request to the engine, in seconds since the program began."""

    began: float
    ended: float
    what: str


def where_time_goes(
    arguments: Sequence[str], *, cwd: Path, environment: Mapping[str, str]
) -> tuple[str, ...]:
    """Run an owctl command once more, watched, and return what it spent its time on."""
    result = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "bench.breakdown", *arguments],
        cwd=cwd,
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line for line in result.stderr.splitlines() if line.startswith(MARK)]
    if not lines:
        return (f"could not be looked into: exit code {result.returncode}",)
    document = json.loads(lines[-1].removeprefix(MARK))
    requests = [Request(**entry) for entry in document["requests"]]
    imports = sum(int(self_us) for self_us in _SELF_TIME.findall(result.stderr)) / 1e6
    ready = ready_seconds(result.stdout) if arguments[0] == "start" else ""
    waits = (f"from a service's start until it answered: {ready}",) if ready else ()
    return describe(document["seconds"], imports, requests) + waits


def describe(seconds: float, imports: float, requests: Sequence[Request]) -> tuple[str, ...]:
    """Return the breakdown in words; the watching itself makes everything a little slower."""
    waiting = busy_seconds(requests)
    lines = [
        f"watched run {seconds:.2f} s: imports {imports:.2f} s, "
        f"{len(requests)} requests to the engine {waiting:.2f} s (those at once counted once), "
        f"the rest {max(0.0, seconds - imports - waiting):.2f} s"
    ]
    slowest = sorted(requests, key=lambda each: each.began - each.ended)[:SLOWEST_SHOWN]
    if slowest:
        shown = ", ".join(f"{each.what} {each.ended - each.began:.2f} s" for each in slowest)
        lines.append(f"slowest requests: {shown}")
    return tuple(lines)


def ready_seconds(printed: str) -> str:
    """Return what the table of `owctl start` says of how long the services took."""
    if "READY AFTER" not in printed:
        return ""
    return ", ".join(f"{service} {seconds} s" for service, seconds in _READY.findall(printed))


def busy_seconds(requests: Sequence[Request]) -> float:
    """Return for how long at least one of the requests was under way."""
    busy, reached = 0.0, 0.0
    for request in sorted(requests, key=lambda each: each.began):
        busy += max(0.0, request.ended - max(request.began, reached))
        reached = max(reached, request.ended)
    return busy


def _watch(requests: list[Request], zero: float) -> None:
    """Note every request that docker-py makes from now on."""
    put, get = http.client.HTTPConnection.putrequest, http.client.HTTPConnection.getresponse
    under_way = threading.local()

    def putrequest(self: Any, method: str, url: str, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        path = re.sub(r"[0-9a-f]{24,}", "ID", url.partition("?")[0])
        under_way.now = time.perf_counter() - zero, f"{method} {path}"
        put(self, method, url, *args, **kwargs)

    def getresponse(self: Any) -> http.client.HTTPResponse:  # noqa: ANN401
        response = get(self)
        began, what = under_way.now
        requests.append(Request(began, time.perf_counter() - zero, what))
        return response

    http.client.HTTPConnection.putrequest = putrequest  # type: ignore[method-assign]
    http.client.HTTPConnection.getresponse = getresponse  # type: ignore[method-assign]


def main() -> int:
    """Run owctl with the program's arguments, then print what was noted."""
    zero = time.perf_counter()
    requests: list[Request] = []
    _watch(requests, zero)
    from owctl.cli import run

    code = run(sys.argv[1:])
    document = {
        "seconds": time.perf_counter() - zero,
        "requests": [asdict(request) for request in requests],
    }
    sys.stderr.write(f"{MARK}{json.dumps(document)}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
