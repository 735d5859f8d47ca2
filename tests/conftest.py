"""What holds for all tests."""

import json
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from owctl.cli import cli
from owctl.ui.console import Console
from tests.json_documents import check_document, row_of

# A job in the background may have been started with Ctrl-C ignored, and its children inherit that;
# the tests send it to owctl as a user's terminal does.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def json_as_documented(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hold every document that ``owctl.cli.run`` prints in a test to docs/schemas/."""
    arguments: list[str] = []
    faults: list[str] = []
    main, print_json, print_line = cli.main, Console.json, Console.json_line

    def remember(*positional: Any, args: list[str], **named: Any) -> Any:
        arguments[:] = args
        return main(*positional, args=args, **named)

    def look_at(document: Any) -> None:
        try:
            row = row_of(arguments)
            if row is not None:
                check_document(json.loads(json.dumps(document)), row.file)
        except AssertionError as error:
            # Raised here it would be owctl's own error, and perhaps the one that a test waits for.
            faults.append(str(error))

    def checked_json(console: Console, document: Any) -> None:
        look_at(document)
        print_json(console, document)

    def checked_line(console: Console, document: Any) -> None:
        look_at(document)
        print_line(console, document)

    monkeypatch.setattr(cli, "main", remember)
    monkeypatch.setattr(Console, "json", checked_json)
    monkeypatch.setattr(Console, "json_line", checked_line)
    yield
    assert not faults, "\n".join(faults)
