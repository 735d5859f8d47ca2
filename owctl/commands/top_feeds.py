"""What `owctl top` shows, kept up to date by a thread for each thing that takes time to ask."""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from owctl.errors import OwctlError
from owctl.observe.rounds import rounds

if TYPE_CHECKING:
    from owctl.context import Context
    from owctl.health.result import HealthReport
    from owctl.observe.sampling import Round

HEALTH_INTERVAL_SECONDS = 3.0
PROBE_TIMEOUT_SECONDS = 3.0


class Feeds:
    """The newest answers; ``on_change`` is called, from their threads, when there is another.

    ``trouble`` is what the engine says in place of an answer. ``crash`` is an error that no feed
    knows: whoever looks is to raise it. Threads end with the process; ``stop`` makes them silent.
    """

    def __init__(
        self, context: "Context", interval_seconds: float, on_change: Callable[[], None]
    ) -> None:
        from owctl.observe.newest_lines import NewestLines

        self._context = context
        self._interval_seconds = interval_seconds
        self._on_change = on_change
        self._stopped = threading.Event()
        self.usage: Round | None = None
        self.health: HealthReport | None = None
        self.trouble: OwctlError | None = None
        self.crash: Exception | None = None
        self.logs = NewestLines(context.engine, context.stack.project, None, self._changed)

    def start(self) -> None:
        """Begin to ask."""
        for name, work in (
            ("usage", self._follow_usage),
            ("health", self._follow_health),
            ("logs", self.logs.follow),
        ):
            threading.Thread(
                target=self._guarded, args=(work,), name=f"owctl-top-{name}", daemon=True
            ).start()

    def stop(self) -> None:
        """Let nothing that a thread still meets be of consequence."""
        self._stopped.set()
        self.logs.stop()

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001  # not swallowed: the main thread raises it
            if not self._stopped.is_set():
                self.crash = error
                self._on_change()

    def _follow_usage(self) -> None:
        from owctl.observe.sampling import StatsSampler

        stack = self._context.stack
        names = [name for name, service in stack.services.items() if service.scale > 0]
        with StatsSampler(self._context.engine, stack.project, names, others=True) as sampler:
            for found in rounds(sampler.sample, self._interval_seconds, first_seconds=1.0):
                if self._stopped.is_set():
                    return
                if isinstance(found, OwctlError):
                    self.trouble = found
                else:
                    self.usage, self.trouble = found, None
                self._changed()

    def _follow_health(self) -> None:
        for found in rounds(self._ask_health, HEALTH_INTERVAL_SECONDS):
            if self._stopped.is_set():
                return
            # An engine that does not answer is told once, where the containers are asked for.
            if not isinstance(found, OwctlError):
                self.health = found
                self._changed()

    def _ask_health(self) -> "HealthReport":
        from owctl.engine.containers import list_containers
        from owctl.health.check import check_containers

        context = self._context
        return check_containers(
            context.engine,
            context.stack,
            tuple(context.stack.services.values()),
            list_containers(context.engine, context.stack.project),
            timeout_seconds=PROBE_TIMEOUT_SECONDS,
            # The cheap form: a session every few seconds would fill the log that one looks at.
            gating=True,
        )

    def _changed(self) -> None:
        if not self._stopped.is_set():
            self._on_change()
