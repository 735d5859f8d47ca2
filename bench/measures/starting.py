"""Starting and stopping: cold, warm, with upstream's health intervals and with fast ones."""

from bench.bench import Bench
from bench.results import Comparison
from bench.stack import FAST
from bench.timing import CommandFailed, Measured, Sample

UP = ("up", "-d", "--wait")


def cold(bench: Bench) -> list[Comparison]:
    """Compare a start from nothing but images: no containers, no network, new volumes."""
    return [
        _cold(
            bench,
            "the five services from nothing, upstream's health intervals",
            {},
            rival_rounds=1,
            budget=0.08,
        ),
        _cold(
            bench,
            "the five services from nothing, every health interval 500 ms",
            FAST,
            rival_rounds=None,
            budget=1.0,
        ),
    ]


def _cold(
    bench: Bench, title: str, settings: dict[str, str], *, rival_rounds: int | None, budget: float
) -> Comparison:
    with bench.stack(**settings) as stack:

        def fresh(measured: Measured) -> Measured:
            def run() -> Sample:
                stack.remove()
                sample = measured()
                stack.check_answers()
                return sample

            return run

        compared = bench.compare(
            "start",
            title,
            ("owctl start", "docker compose up -d --wait"),
            (fresh(lambda: stack.owctl("start")), fresh(lambda: stack.compose(*UP))),
            rounds=3,
            rival_rounds=rival_rounds,
            budget=budget,
        )
        stack.remove()
        if compared.verdict != "missed":
            return compared
        return compared.explained(bench.where_time_goes(stack, ["start"]))


def warm(bench: Bench) -> list[Comparison]:
    """Compare `start` on a running stack, which is to change nothing."""
    with bench.stack() as stack:
        stack.owctl("start")
        # Until the engine calls everything healthy, too: before that, compose would wait for it.
        stack.compose(*UP)
        before = stack.ids("container")
        compared = bench.compare(
            "warm",
            "the same on the running stack: nothing to change",
            ("owctl start", "docker compose up -d"),
            (lambda: stack.owctl("start"), lambda: stack.compose("up", "-d")),
            rounds=8,
            budget=0.4,
            watched=(stack, ["start"]),
        )
        if stack.ids("container") != before:
            raise CommandFailed("a start on the running stack replaced containers")
        return [compared]


def stop(bench: Bench) -> list[Comparison]:
    """Compare taking the stack down, volumes kept."""
    with bench.stack() as stack:

        def running(measured: Measured) -> Measured:
            def run() -> Sample:
                stack.owctl("start")
                return measured()

            return run

        return [
            bench.compare(
                "stop",
                "containers and network removed, volumes kept",
                ("owctl stop", "docker compose down"),
                (running(lambda: stack.owctl("stop")), running(lambda: stack.compose("down"))),
                rounds=3,
            )
        ]
