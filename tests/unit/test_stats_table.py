"""The table of `stats`: figures in little room, and what gives way where there is even less."""

from dataclasses import fields, replace
from datetime import UTC, datetime

import pytest

from owctl.commands.stats import FIGURES, document, stats_table
from owctl.engine.inspection import container_from_inspect
from owctl.figures import memory_text, percent_text, transfer_text
from owctl.observe.sampling import ContainerUsage, Round
from owctl.observe.stats import Usage
from owctl.ui.table import render

USAGE = Usage(
    cpu_percent=187.53,
    cpu_limit_cores=2.0,
    cpu_limit_percent=93.77,
    memory_bytes=1023 * 1024**2,
    memory_limit_bytes=2 * 1024**3,
    memory_percent=49.95,
    network_rx_bytes=999_499,
    network_tx_bytes=12,
    network_rx_bytes_per_second=1234.5,
    network_tx_bytes_per_second=0.0,
    disk_read_bytes=123_456_789,
    disk_write_bytes=9_949,
    disk_read_bytes_per_second=0.0,
    disk_write_bytes_per_second=0.4,
    pids=23,
    pids_limit=None,
)


def row(
    service: str = "socketio-bridge",
    *,
    state: str = "running",
    number: int = 1,
    usage: Usage | None = USAGE,
) -> ContainerUsage:
    labels = {
        "com.docker.compose.service": service,
        "com.docker.compose.container-number": str(number),
    }
    container = container_from_inspect(
        {
            "Id": f"{service}{number}",
            "Name": f"/p-{service}-{number}",
            "State": {"Status": state, "ExitCode": 3},
            "Config": {"Labels": labels, "Image": "web"},
        }
    )
    return ContainerUsage(service, container, usage)


def titles(rows: list[ContainerUsage], width: int | None, *, watched: bool = False) -> list[str]:
    return [column.title for column in stats_table(rows, width=width, watched=watched)[0]]


@pytest.mark.parametrize(
    ("size", "memory", "transfer"),
    [
        (None, "-", "-"),
        (0, "0 B", "0 B"),
        (999.4, "999 B", "999 B"),
        (1000, "1.0 KiB", "1.0 kB"),
        (1024, "1.0 KiB", "1.0 kB"),
        (9.94 * 1024, "9.9 KiB", "10 kB"),
        (26 * 1024**2, "26 MiB", "27 MB"),
        (999.6 * 1024**2, "1.0 GiB", "1.0 GB"),
        (512 * 1024**3, "512 GiB", "550 GB"),
        (5000 * 1024**4, "5000 TiB", "5498 TB"),
    ],
)
def test_sizes_are_short(size: float | None, memory: str, transfer: str):
    assert memory_text(size) == memory
    assert transfer_text(size) == transfer


def test_percentages_are_short():
    assert [percent_text(each) for each in (None, 0.0, 0.04, 99.94, 99.95, 187.5, 1600.0)] == [
        "-", "0.0%", "0.0%", "99.9%", "100%", "188%", "1600%",
    ]  # fmt: skip


def test_80_columns_are_enough_for_what_counts():
    # The longest texts that the demonstration's services can have.
    assert titles([row()], 80) == ["SERVICE", "CPU", "MEMORY", "MEM %", "RX", "TX", "READ", "WRITE",
                                   "PIDS"]  # fmt: skip


def test_a_table_that_is_watched_shows_rates_first():
    shown = titles([row()], 80, watched=True)
    assert shown[:4] == ["SERVICE", "CPU", "MEMORY", "MEM %"]
    assert {"RX/S", "TX/S", "READ/S", "WRITE/S", "PIDS"} <= set(shown)
    assert "RX" not in shown


def test_a_wide_terminal_and_a_pipe_get_everything():
    everything = [figure.title for figure in FIGURES]
    assert titles([row()], 200) == ["SERVICE", *everything]
    assert titles([row()], None) == ["SERVICE", "STATE", *everything]


@pytest.mark.parametrize("width", [*range(30, 90, 6), 80, 120, 160])
def test_no_line_is_ever_wider_than_the_terminal(width: int):
    rows = [
        row(),
        row("rust-backend", number=12),
        row("worker", state="exited", usage=None),
        row("db", usage=replace(USAGE, pids=99_999, pids_limit=100_000)),
    ]
    columns, lines = stats_table(rows, width=width, watched=False)
    text = render(columns, lines, width=width, color=False)
    assert max(map(len, text.splitlines())) <= width
    assert len(text.splitlines()) == 1 + len(rows)
    if width >= 44:
        assert {"CPU", "MEMORY"} <= {column.title for column in columns}
        assert "rust-backend (12)" in text


def test_the_state_is_shown_where_something_does_not_run():
    stopped = [row("web", state="exited", usage=None), ContainerUsage("db", None, None)]
    columns, lines = stats_table(stopped, width=80, watched=False)
    assert columns[1].title == "STATE"
    assert [line[1].text for line in lines] == ["exited (3)", "missing"]
    assert {cell.text for line in lines for cell in line[2:]} == {"-"}


def test_what_comes_near_its_limit_stands_out():
    near = replace(USAGE, cpu_limit_percent=80.0, memory_percent=95.0)
    columns, lines = stats_table([row(usage=near)], width=None, watched=False)
    styles = {column.title: cell.style for column, cell in zip(columns, lines[0], strict=True)}
    assert (styles["CPU"], styles["MEM %"], styles["RX"]) == ("yellow", "bold red", "")


def test_the_document_has_every_figure_with_its_unit():
    found = Round(
        datetime(2026, 1, 31, 12, 0, tzinfo=UTC), (row(), ContainerUsage("db", None, None))
    )
    shown = document("demo", found)
    assert shown["schema"] == 1
    assert shown["project"] == "demo"
    assert shown["taken_at"] == "2026-01-31T12:00:00.000Z"
    first, second = shown["services"]
    assert first["service"] == "socketio-bridge"
    assert first["container"] == "p-socketio-bridge-1"
    assert first["cpu_percent"] == 187.53
    assert first["memory_bytes"] == 1023 * 1024**2
    assert {field.name for field in fields(Usage)} <= first.keys() == second.keys()
    assert second["state"] == "missing"
    assert second["container"] is second["memory_bytes"] is None
