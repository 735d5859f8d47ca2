"""A changeover: staged beside what is there, put in place in one swap, kept, and then finished or undone.

Everything can be called again after a kill at any point: it goes by the journal. The caller holds
the project's lock.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Generic, TypeVar

from owctl.changeover.journal import Journal, Phase
from owctl.compose.model import Stack
from owctl.engine.connection import Engine
from owctl.errors import Interrupted, OwctlError
from owctl.lifecycle.services import Services
from owctl.progress import Event, Receiver, State, warning

_J = TypeVar("_J", bound=Journal)
_T = TypeVar("_T")


class Changeover(ABC, Generic[_J]):
    """What one journal names, on one engine; a kind of changeover says what its steps are made of.

    What raises OwctlError can be called again. ``timeout_seconds`` is for each service until it
    answers.
    """

    def __init__(
        self,
        engine: Engine,
        stack: Stack,
        journal: _J,
        receive: Receiver,
        timeout_seconds: float,
    ) -> None:
        self.engine = engine
        self.stack = stack
        self.journal = journal
        self.receive = receive
        self.services = Services(engine, stack, receive, timeout_seconds)

    @abstractmethod
    def stop_users(self) -> None:
        """Stop what uses the data."""

    @abstractmethod
    def swap(self) -> None:
        """Put everything that is staged in place; nothing uses it meanwhile."""

    @abstractmethod
    def swap_back(self) -> None:
        """Put everything back that was in place before."""

    @abstractmethod
    def discard_new(self) -> None:
        """Remove what was staged, and is not in place."""

    @abstractmethod
    def discard_kept(self) -> None:
        """Remove what was there before."""

    def clear_leftovers(self) -> None:
        """Remove what a killed run left at work."""

    def prepare_undo(self) -> None:
        """Make ready for the way back, before anything is looked at."""

    def settle(self) -> None:
        """Do what has to be right before anything else may use the new data."""

    def look(self) -> None:
        """Look at the new data, once its services run."""

    def close(self) -> None:
        """Remove the journal: it is over."""
        self.journal.remove(self.stack.working_dir)

    @property
    def starts(self) -> tuple[str, ...]:
        """The services to be started on the new data."""
        return self.journal.running

    @property
    def ran_before(self) -> tuple[str, ...]:
        """The services that run again once everything is as it was before."""
        return self.journal.running

    def advance(self, phase: Phase, **changes: Any) -> None:  # noqa: ANN401
        """Write down that a phase has come, or that more is known."""
        self.journal = self.journal.advance(self.stack.working_dir, phase, **changes)

    def tell(self, subject: str, state: State, text: str) -> None:
        """Report what happens to a subject."""
        self.receive(Event(subject, state, text))

    def run(self, stage: Callable[[], _T]) -> _T:
        """Stage, swap, and start what ran before; returns what ``stage`` does.

        An error before the new data is in place is raised when everything is as it was before; a
        later one leaves it in place. If going back fails, too, the journal says where it stands.
        """
        try:
            staged = stage()
            self.put_in_place()
        except BaseException as error:
            told = self._go_back(error)
            if told is not None:
                raise told from error
            raise
        self.go_live()
        return staged

    def put_in_place(self) -> None:
        """Swap, or go on with it."""
        if self.journal.phase != "swapped":
            self.advance("swapping")
            self.stop_users()
            self.swap()
            self.advance("swapped")
        self.settle()

    def go_live(self) -> None:
        """Start what ran before; what was started only for the changeover is stopped."""
        self.advance("swapped", started=True)
        journal, kind = self.journal, self.journal.kind
        try:
            self.services.start(self.starts)
            self.look()
            self.services.back_to(journal.running, had_containers=journal.had_containers)
        except OwctlError as error:
            raise type(error)(
                f"The {kind.data} is {kind.done}, but: {error.message}",
                hint=f"{kind.way('undo')}, which puts back what was there before"
                + (f"; or {error.hint}" if error.hint else ""),
                details=error.details,
            ) from error

    def resume(self) -> bool:
        """Bring it to the end that it was heading for, if it had come as far as the swap.

        Returns False where it had not: that is to be undone, and begun again.
        """
        self._take_up()
        phase = self.journal.phase
        if phase == "undoing":
            self.undo()
        elif phase == "finishing":
            self.finish()
        elif phase in ("swapping", "swapped"):
            self.put_in_place()
            self.go_live()
        else:
            return False
        return True

    def undo(self) -> None:
        """Put everything back as it was before, and remove what was new.

        The services that run now (or ran at the beginning, if it was interrupted) run again afterwards.
        """
        self._take_up()
        phase, kind = self.journal.phase, self.journal.kind
        if phase == "finishing":
            raise OwctlError(
                f"The {kind.noun} is being finished: what was there before may be gone already.",
                hint=f"{kind.way('finish')}, which completes it",
            )
        self.prepare_undo()
        if phase in ("swapping", "swapped", "undoing"):
            if phase != "undoing":
                self.advance("undoing", **self._running_now())
            self.stop_users()
            self.swap_back()
        self.discard_new()
        if phase not in ("staging", "staged"):
            self._start_as_before()
            return
        # Everything ran on meanwhile.
        self.services.back_to(self.ran_before, had_containers=self.journal.had_containers)
        self.close()

    def finish(self) -> None:
        """Keep what is new: drop what was there before, and the journal with it."""
        self._take_up()
        journal, kind = self.journal, self.journal.kind
        if journal.phase not in ("swapped", "finishing"):
            raise OwctlError(
                f"The {journal.name} is not done yet (phase {journal.phase}).",
                hint=kind.way("resume", "undo"),
            )
        if journal.phase == "swapped":
            running, had_containers = self.services.running(), self.services.have_containers()
            # A run that was killed after the swap has not started them again.
            if idle := [name for name in journal.running if name not in running]:
                self.receive(
                    warning(
                        f"Ran before the {kind.noun}, and not now: {', '.join(idle)} (owctl start)."
                    )
                )
            self.advance("finishing", running=running, had_containers=had_containers)
        self.discard_kept()
        self.close()

    def _take_up(self) -> None:
        """Begin with what another run left; raises OwctlError if it is of another project or engine."""
        journal, kind = self.journal, self.journal.kind
        if journal.project != self.stack.project:
            raise OwctlError(
                f"The {kind.noun} that was begun in this folder is of the project "
                f"{journal.project}; this is {self.stack.project}.",
                hint=f"owctl -p {journal.project} {kind.command} status",
            )
        if journal.engine_id != self.engine.engine_id:
            raise OwctlError(
                f"The {kind.noun} was begun on another engine than this one.",
                hint=f"owctl --context NAME {kind.command} status, naming the engine of that time",
            )
        self.clear_leftovers()

    def _running_now(self) -> dict[str, Any]:
        """Return what an undo is to come back to, where that is not what the journal says."""
        if self.journal.phase != "swapped" or not self.journal.started:
            return {}
        now = self.services.running()
        # Also those that ran and did not start any more: that may be why it is undone.
        running = tuple(dict.fromkeys((*now, *self.journal.running))) if now else ()
        return {"running": running, "had_containers": self.services.have_containers()}

    def _start_as_before(self) -> None:
        """Start what ran before. The data is back by now, so a service that fails is only told."""
        journal, kind = self.journal, self.journal.kind
        try:
            self.services.start(self.ran_before)
        except OwctlError as error:
            self.close()
            raise type(error)(
                f"The {kind.data} is as it was before the {kind.noun}, but: {error.message}",
                hint=error.hint,
                details=error.details,
            ) from error
        with suppress(OwctlError):
            self.services.back_to(self.ran_before, had_containers=journal.had_containers)
        self.close()

    def _go_back(self, error: BaseException) -> OwctlError | None:
        """Undo what was begun; returns the error to raise, which says how that went."""
        hint: str | None = getattr(error, "hint", None)
        outcome = "Everything is as it was before."
        try:
            journal = self.journal.read(self.stack.working_dir)
            if journal is not None:
                self.journal = journal
                self.receive(warning("Going back to what was there before."))
                self.undo()
        except (OwctlError, KeyboardInterrupt) as second:
            why = second.message if isinstance(second, OwctlError) else "interrupted"
            outcome = f"Going back did not succeed: {why}"
            hint = self.journal.kind.way("undo", "resume")
        if isinstance(error, KeyboardInterrupt | Interrupted):
            return Interrupted(f"Interrupted. {outcome}", hint=hint)
        if isinstance(error, OwctlError):
            error.details = (*error.details, outcome)
            error.hint = hint
        return None
