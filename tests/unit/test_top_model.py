"""The keys of `top`: what each does to the screen, and what it asks for."""

import pytest

from owctl.commands.top.rows import Action, Row, TopModel, matching, rows_of
from owctl.health.result import HealthReport, ServiceHealth
from owctl.observe.sampling import ContainerUsage, Round
from tests.unit.test_stats_table import row

SERVICES = ["postgres", "redis", "web"]
ROWS = rows_of(Round(None, tuple(row(name) for name in SERVICES)), None, SERVICES)
NUMBERS = list(range(100, 200))


def press(model: TopModel, *keys: str, rows: list[Row] | None = None) -> Action | None:
    action = None
    for key in keys:
        action = model.press(key, ROWS if rows is None else rows, NUMBERS, 10)
    return action


def selected(model: TopModel, rows: list[Row] | None = None) -> str:
    found = model.row(ROWS if rows is None else rows)
    assert found is not None
    return found.name


@pytest.mark.parametrize(
    ("keys", "name"),
    [
        ([], "postgres"),
        (["down"], "redis"),
        (["j", "j", "j"], "web"),
        (["end", "k"], "redis"),
        (["up"], "postgres"),
        (["end", "home"], "postgres"),
    ],
)
def test_the_selection_moves_and_stays_inside(keys: list[str], name: str):
    model = TopModel()
    press(model, *keys)
    assert selected(model) == name


def test_the_selection_stays_with_its_service():
    model = TopModel()
    press(model, "down")
    # Before the first answer and after a container was replaced it is the same row.
    before = rows_of(None, None, SERVICES)
    assert selected(model, before) == "redis"
    gone = rows_of(Round(None, (row("postgres"), ContainerUsage("redis", None, None))), None, [])
    assert selected(model, gone) == "redis"
    assert selected(model, rows_of(Round(None, (row("web"),)), None, [])) == "web"
    assert model.row([]) is None


def test_a_restart_is_asked_for_first():
    model = TopModel()
    assert press(model, "down", "r") is None
    assert model.asked is not None
    action = press(model, "y")
    assert action is not None
    assert (action.kind, action.row) == ("restart", ROWS[1])
    assert model.asked is None


@pytest.mark.parametrize("key", ["n", "escape", "enter", "q", "down", "x"])
def test_anything_but_yes_restarts_nothing(key: str):
    model = TopModel()
    assert press(model, "r", key) is None
    assert (model.asked, model.message) == (None, "Not restarted.")
    assert selected(model) == "postgres"


def test_the_filter_is_typed():
    model = TopModel()
    press(model, "/", "q", "r", "ä", "backspace", "enter")
    assert (model.filter, model.typing) == ("qr", False)
    press(model, "f", "ctrl u", "x", "escape")
    assert (model.filter, model.typing) == ("", False)
    press(model, "/", "a", "enter", "escape")
    assert model.filter == ""


def test_the_filter_is_of_names_or_else_of_lines():
    assert [each.name for each in matching(ROWS, "RED")] == ["redis"]
    assert [each.name for each in matching(ROWS, "error")] == SERVICES


def test_a_shell_quitting_and_drawing_anew_are_asked_for():
    model = TopModel()
    assert press(model, "end", "s") == Action("shell", ROWS[2])
    assert press(model, "ctrl l") == Action("redraw")
    assert press(model, "q") == Action("quit")
    assert press(model, "?") is None
    assert model.help
    assert press(model, "x") is None
    assert not model.help
    assert press(model, "?", "q") == Action("quit")


def test_without_services_no_key_does_harm():
    model = TopModel()
    for key in ("up", "down", "r", "s", "l", "o", "enter", "home", "end", "page up"):
        assert press(model, key, rows=[]) is None
    assert press(model, "q", rows=[]) == Action("quit")


def test_the_whole_log_and_back():
    model = TopModel()
    press(model, "down", "l")
    assert (model.whole_log, model.only_selected) == (True, True)
    press(model, "right")
    assert selected(model) == "web"
    press(model, "o")
    assert not model.only_selected
    press(model, "escape")
    assert (model.whole_log, model.only_selected) == (False, False)


def test_scrolling_holds_its_place_and_follows_at_the_end():
    model = TopModel()
    press(model, "l", "page up")
    assert model.scrolled == NUMBERS[-11]
    press(model, "up")
    assert model.scrolled == NUMBERS[-12]
    press(model, "home")
    # The oldest lines fill the screen; there is nothing above them.
    assert model.scrolled == NUMBERS[9]
    press(model, "page up")
    assert model.scrolled == NUMBERS[9]
    press(model, "end")
    assert model.scrolled is None
    press(model, "up", "down")
    assert model.scrolled is None


def test_scrolling_where_lines_were_dropped_or_there_are_none():
    model = TopModel(whole_log=True, scrolled=5)
    model.press("down", ROWS, NUMBERS, 10)
    assert model.scrolled in NUMBERS
    empty = TopModel(whole_log=True)
    for key in ("up", "page up", "home", "end"):
        empty.press(key, ROWS, [], 10)
    assert empty.scrolled is None


def test_what_is_below_the_screen_is_counted():
    assert TopModel().newer_below(NUMBERS, 10) == 0
    assert TopModel(scrolled=190).newer_below(NUMBERS, 10) == 9
    # The line that was held has been dropped: the oldest ones that there are fill the screen.
    assert TopModel(scrolled=5).newer_below(NUMBERS, 10) == 90
    assert TopModel(scrolled=5).newer_below(NUMBERS[:3], 10) == 0
    assert TopModel(scrolled=5).newer_below([], 10) == 0


def test_health_belongs_to_the_container_that_was_asked():
    def health(service: str, container: str | None) -> ServiceHealth:
        return ServiceHealth(
            service, container, "running", None, "healthy", "http", "x", 1.0, "HTTP 200"
        )

    report = HealthReport("p", None, 1.0, (health("web", "p-web-1"), health("web", "p-web-2")))
    rows = rows_of(Round(None, (row("web"), row("web", number=2), row("redis"))), report, [])
    assert [each.name for each in rows] == ["web", "web (2)", "redis"]
    assert [each.health.container if each.health else None for each in rows] == [
        "p-web-1", "p-web-2", None,
    ]  # fmt: skip
