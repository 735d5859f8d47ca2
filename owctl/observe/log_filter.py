"""Chooses log lines: by what they say, how serious they are, and how many came before."""

import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence

from owctl.observe.log_level import Level, LevelReader
from owctl.observe.logs import Line

Show = Callable[[bytes], bytes]


class LineFilter:
    """Chooses lines by ``pattern`` (not found with ``invert``) and by ``levels``; both must agree.

    ``show`` turns lines into what a reader sees, in which the pattern is looked for. A line without
    a level of its own has that of the line it belongs to. ``tell_levels``: levels are wanted.
    """

    def __init__(
        self,
        show: Show | None = None,
        *,
        pattern: re.Pattern[str] | None = None,
        invert: bool = False,
        levels: Collection[Level] | None = None,
        tell_levels: bool = False,
    ) -> None:
        self._show = show
        self._pattern = pattern
        self._invert = invert
        self._levels = levels
        self._tell_levels = tell_levels
        self._reader = LevelReader()
        self._skip: Counter[str] = Counter()

    @property
    def leaves_out(self) -> bool:
        """Whether lines may be left out for what they say."""
        return self._pattern is not None or self._levels is not None

    def fresh(self) -> "LineFilter":
        """Return one that has not seen any line."""
        return LineFilter(
            self._show, pattern=self._pattern, invert=self._invert, levels=self._levels
        )

    def skip(self, container_id: str, count: int) -> None:
        """Leave out the next ``count`` lines of a container that would be chosen."""
        self._skip[container_id] = count

    def choose(self, lines: Sequence[Line]) -> tuple[Sequence[Line], Sequence[Level | None]]:
        """Return the chosen ones of the next lines, and the level of each if levels are wanted."""
        levels: Sequence[Level | None] = ()
        if self.leaves_out or self._tell_levels:
            texts = self._texts(lines)
            if self._levels is not None or self._tell_levels:
                of = self._reader.level_of
                levels = [
                    of((line[1].container_id, line[2]), text)
                    for line, text in zip(lines, texts, strict=True)
                ]
            if self.leaves_out:
                lines, levels = _kept(lines, levels, self._wanted(texts, levels))
        if self._skip:
            lines, levels = _kept(lines, levels, [self._is_due(line) for line in lines])
        return lines, levels

    def _wanted(self, texts: Sequence[str], levels: Sequence[Level | None]) -> list[bool]:
        wanted = [True] * len(texts)
        if self._pattern is not None:
            search, invert = self._pattern.search, self._invert
            wanted = [(search(text) is None) == invert for text in texts]
        if self._levels is not None:
            chosen = self._levels
            wanted = [
                is_wanted and level in chosen
                for is_wanted, level in zip(wanted, levels, strict=True)
            ]
        return wanted

    def _is_due(self, line: Line) -> bool:
        identity = line[1].container_id
        if identity not in self._skip:
            return True
        self._skip[identity] -= 1
        if not self._skip[identity]:
            del self._skip[identity]
        return False

    def _texts(self, lines: Sequence[Line]) -> list[str]:
        """Return the lines as they are shown, without newlines."""
        block = b"".join([line[3] for line in lines])
        if self._show is not None:
            block = self._show(block)
        texts = block.decode("utf-8", "replace").split("\n")
        if len(texts) == len(lines) + 1:
            return texts[:-1]
        # A secret of several lines was hidden as one.
        show = self._show or bytes
        return [show(line[3]).decode("utf-8", "replace").rstrip("\n") for line in lines]


def _kept(
    lines: Sequence[Line], levels: Sequence[Level | None], wanted: Sequence[bool]
) -> tuple[Sequence[Line], Sequence[Level | None]]:
    kept = [line for line, is_wanted in zip(lines, wanted, strict=True) if is_wanted]
    if levels:
        levels = [level for level, is_wanted in zip(levels, wanted, strict=True) if is_wanted]
    return kept, levels
