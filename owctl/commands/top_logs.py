"""The log lines of `owctl top`: masked, harmless, filtered; each made ready once."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from owctl.ui.log_text import Safety

if TYPE_CHECKING:
    from owctl.commands.top_rows import Row
    from owctl.observe.newest_lines import Entry
    from owctl.ui.top_screen import LogLine

LONGEST_LINE_CHARACTERS = 2000


class ShownLines:
    """Turns entries into lines for the screen. ``colors`` maps a service to its SGR code."""

    def __init__(self, mask: Callable[[bytes], bytes], colors: Mapping[str, str]) -> None:
        self._safety = Safety(mask)
        self._colors = colors
        self._ready: dict[int, LogLine] = {}

    def choose(
        self, entries: Sequence["Entry"], text: str, only: "Row | None"
    ) -> "list[tuple[int, LogLine]]":
        """Return the lines with ``text`` in them, of one container or of all, with their numbers."""
        if entries:
            oldest = entries[0].number
            self._ready = {key: line for key, line in self._ready.items() if key >= oldest}
        wanted = text.lower()
        found = []
        for entry in entries:
            if only is not None and entry.source.service != only.service:
                continue
            line = self._line(entry)
            if not wanted or wanted in line.label.lower() or wanted in line.text.lower():
                found.append((entry.number, line))
        return found

    def _line(self, entry: "Entry") -> "LogLine":
        ready = self._ready.get(entry.number)
        if ready is None:
            ready = self._ready[entry.number] = self._made(entry)
        return ready

    def _made(self, entry: "Entry") -> "LogLine":
        from owctl.ui.top_screen import LogLine

        label = entry.source.label
        color = self._colors.get(entry.source.service, "")
        if entry.line is None:
            return LogLine(label, color, entry.sentence, "italic dim")
        # Masked as a whole before it is cut: half a secret would be shown otherwise.
        _, _, _, written = entry.line
        text = self._safety.plain(written).decode("utf-8", "replace").rstrip("\n")
        return LogLine(label, color, text[:LONGEST_LINE_CHARACTERS])
