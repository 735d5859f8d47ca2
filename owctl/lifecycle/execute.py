"""Run a plan: every step as soon as what it requires is done, several at a time."""

import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from owctl.errors import OwctlError
from owctl.lifecycle.plan import Plan, Step
from owctl.progress import Event, Receiver, State

# Also how often the main thread looks up, so that Ctrl-C is heard during a long step.
POLL_SECONDS = 0.2
MAXIMUM_WORKERS = 24

Perform = Callable[[Step, threading.Event, Callable[[str], None]], str]
"""Carry out a step; given: the cancel event and where to report progress; returns a detail."""


def execute(plan: Plan, perform: Perform, receiver: Receiver) -> None:
    """Run all steps of a plan.

    The first failure cancels the waits under way and everything that has not begun; calls under
    way end by themselves. Raises the first failure, with the messages of the others that failed
    before the cancelling as its details. KeyboardInterrupt and owctl's own Interrupted do the
    same and are raised again.
    """
    if not plan.steps:
        return
    cancel = threading.Event()
    pool = ThreadPoolExecutor(
        max_workers=min(MAXIMUM_WORKERS, len(plan.steps)), thread_name_prefix="step"
    )
    run = _Run(plan, perform, receiver, cancel, pool)
    try:
        run.loop()
    finally:
        cancel.set()
        pool.shutdown(wait=True, cancel_futures=True)


def announce(plan: Plan, receiver: Receiver) -> None:
    """Tell of every subject that its turn comes, before the plan is run."""
    for subject in dict.fromkeys(step.subject for step in plan.steps):
        receiver(Event(subject, "waiting", "waiting"))


class _Run:
    def __init__(
        self,
        plan: Plan,
        perform: Perform,
        receiver: Receiver,
        cancel: threading.Event,
        pool: ThreadPoolExecutor,
    ) -> None:
        self.waiting = list(plan.steps)
        self.last = {step.subject: step.key for step in plan.steps}.values()
        self.perform = perform
        self.receiver = receiver
        self.cancel = cancel
        self.pool = pool
        self.done: set[str] = set()
        self.under_way: dict[Future[str], Step] = {}
        self.failures: list[BaseException] = []
        self._refuse_unknown_requirements(plan)

    @staticmethod
    def _refuse_unknown_requirements(plan: Plan) -> None:
        known = {step.key for step in plan.steps}
        for step in plan.steps:
            if missing := step.requires - known:
                raise AssertionError(f"step {step.key!r} requires unknown {sorted(missing)}")

    def loop(self) -> None:
        self._submit_ready()
        while self.under_way:
            finished, _ = wait(self.under_way, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
            for future in finished:
                self._take(self.under_way.pop(future), future)
            if not self.failures:
                self._submit_ready()
        if self.failures:
            raise self.failures[0]
        if self.waiting:
            raise AssertionError(f"the plan has a cycle: {[step.key for step in self.waiting]}")

    def _submit_ready(self) -> None:
        for step in [s for s in self.waiting if s.requires <= self.done]:
            self.waiting.remove(step)
            self._tell(step, "started")
            self.under_way[self.pool.submit(self._perform, step)] = step

    def _perform(self, step: Step) -> str:
        return self.perform(step, self.cancel, lambda text: self._tell(step, "working", text))

    def _take(self, step: Step, future: "Future[str]") -> None:
        error = future.exception()
        if error is None:
            self.done.add(step.key)
            self._tell(step, "done" if step.key in self.last else "passed", future.result())
        elif isinstance(error, Cancelled):
            self._tell(step, "working", "not waited for")
        else:
            self.cancel.set()
            self.failures.append(error)
            text = error.message if isinstance(error, OwctlError) else str(error)
            self._tell(step, "failed", text)

    def _tell(self, step: Step, state: State, text: str = "") -> None:
        self.receiver(Event(step.subject, state, text, step.kind, step.name or ""))


class Cancelled(Exception):
    """A step gave up because another one failed or the user interrupted."""
