"""The comparisons as a Markdown page."""

from collections.abc import Sequence

from bench.machine import Machine
from bench.results import Comparison, median_cpu_seconds, peak_megabytes
from bench.timing import Sample, median_seconds

INTRODUCTION = """\
# Benchmarks

owctl beside docker compose and shell pipelines, on one machine, in one run, in turn. Made by `make bench`, which
writes this page: do not edit it. The ratios are what counts; the seconds are this machine's.

Both tools are measured on the same files ([bench/rival/](../bench/rival/)): the five services as upstream describes
them, health checks every 10 and 30 s, on the demonstration's images. Its `health.sh` asks
the engine and the services as often as `health` of the original script does.
"""


def render(comparisons: Sequence[Comparison], machine: Machine) -> str:
    """Return the whole page."""
    parts = [INTRODUCTION, _where(machine), _ratios(comparisons), _details(comparisons)]
    if missed := [each for each in comparisons if each.verdict == "missed"]:
        parts.insert(3, _missed(missed))
    return "\n".join(parts)


def summary(comparisons: Sequence[Comparison]) -> str:
    """Return the table of ratios alone."""
    return _ratios(comparisons)


def _where(machine: Machine) -> str:
    return f"""\
Run of {machine.date}, {machine.seconds / 60:.0f} min: owctl {machine.owctl} ({machine.commit}), \
Python {machine.python}, docker compose {machine.compose}, Docker Engine {machine.engine}, \
Linux {machine.kernel}; {machine.processors} × {machine.processor}, \
{machine.memory_bytes / 1e9:.0f} GB; load {machine.load_before:.1f} before, {machine.load_highest:.1f} at the highest.
"""


def _ratios(comparisons: Sequence[Comparison]) -> str:
    rows = [
        f"| **{each.measure}**: {each.title} "
        f"| {_seconds(median_seconds(each.ours))} | {_seconds(median_seconds(each.rival))} "
        f"| **{_ratio(each.ratio)}** | {_budget(each)} |"
        for each in comparisons
    ]
    rows[:0] = ["| what | owctl | rival | ratio | budget |", "|---|---:|---:|---:|---|"]
    return "\n".join(rows) + "\n"


def _details(comparisons: Sequence[Comparison]) -> str:
    rows = [
        "## Every command",
        "",
        "Wall time; CPU is the processor time of the command and the programs it waits for, the engine's not"
        " counted; memory is the highest of any one process.",
        "",
        "| what | command | runs | median | fastest | slowest | CPU | memory |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for each in comparisons:
        for command, samples in (
            (each.our_command, each.ours),
            (each.rival_command, each.rival),
        ):
            rows.append(f"| {each.measure} | {_code(command)} | {_figures(samples)} |")
    return "\n".join(rows) + "\n"


def _figures(samples: Sequence[Sample]) -> str:
    every = [sample.seconds for sample in samples]
    return " | ".join(
        [
            str(len(every)),
            _seconds(median_seconds(samples)),
            _seconds(min(every)),
            _seconds(max(every)),
            _seconds(median_cpu_seconds(samples)),
            f"{peak_megabytes(samples):.0f} MB",
        ]
    )


def _missed(comparisons: Sequence[Comparison]) -> str:
    lines = ["## Budgets missed", ""]
    for each in comparisons:
        lines.append(
            f"- **{each.measure}** ({each.title}): {_ratio(each.ratio)}, allowed {each.budget:g}"
        )
        lines += [f"  - {line}" for line in each.where_time_goes]
    return "\n".join(lines) + "\n"


def _budget(comparison: Comparison) -> str:
    if comparison.budget is None:
        return "–"
    return f"≤ {comparison.budget:g}, {comparison.verdict}"


def _ratio(ratio: float) -> str:
    return f"{ratio:.3f}" if ratio < 0.1 else f"{ratio:.2f}"


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 10 else f"{seconds:.2f} s"


def _code(command: str) -> str:
    return command.replace("|", "\\|") if "(" in command else f"`{command}`".replace("|", "\\|")
