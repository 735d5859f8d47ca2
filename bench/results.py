"""What a comparison found, and whether it keeps its budget."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Literal

from bench.timing import Sample, median_seconds

Verdict = Literal["met", "missed", "no budget"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """owctl and one rival at the same work. ``budget`` is the highest ratio of the medians allowed.

    ``where_time_goes`` is filled in where the budget is missed.
    """

    measure: str
    title: str
    our_command: str
    rival_command: str
    ours: tuple[Sample, ...]
    rival: tuple[Sample, ...]
    budget: float | None = None
    where_time_goes: tuple[str, ...] = ()

    @property
    def ratio(self) -> float:
        """Our median by the rival's: below 1 we are faster."""
        return median_seconds(self.ours) / median_seconds(self.rival)

    @property
    def verdict(self) -> Verdict:
        """Whether the ratio keeps the budget."""
        if self.budget is None:
            return "no budget"
        return "met" if self.ratio <= self.budget else "missed"

    def explained(self, where_time_goes: Sequence[str]) -> "Comparison":
        """Return the same comparison with the words for a missed budget."""
        return replace(self, where_time_goes=tuple(where_time_goes))


def peak_megabytes(samples: Sequence[Sample]) -> float:
    """Return the highest memory that one process of any run had, in MB (10⁶ bytes)."""
    return max(sample.peak_bytes for sample in samples) / 1e6


def median_cpu_seconds(samples: Sequence[Sample]) -> float:
    """Return the median of the processor time."""
    return median(sample.cpu_seconds for sample in samples)
