"""What a component wrote: the end of its log, as every runtime tells it."""

from __future__ import annotations

import os
from pathlib import Path

_TAIL_BYTES = 16384


def last_lines(log: Path, lines: int) -> tuple[str, ...]:
    """The last lines of a log, oldest first; none where there is no log."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            start = max(0, size - _TAIL_BYTES)
            file.seek(start)
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return ()
    found = text.splitlines()
    return tuple(found[1 if start and len(found) > 1 else 0 :][-lines:])
