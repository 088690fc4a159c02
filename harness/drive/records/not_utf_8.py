"""A record holds bytes that are no UTF-8."""

from __future__ import annotations

from harness.drive.records import Look, Way
from harness.drive.records.parts import Mishap, befall, since_noted


class NotUtf8(Mishap):
    """A record in whose text stand bytes that begin no character: they arrive as U+FFFD."""

    id = "not-utf-8"
    summary = "A record is written in whose text stand bytes that are no UTF-8."
    done = "written bytes that are no text"
    effect = "what was written into the log since cannot be decoded"

    async def befall(self, way: Way) -> None:
        """One such record."""
        await befall(way, "not-utf-8")

    def trace(self, way: Way) -> Look:
        """Bytes that cannot be decoded."""
        try:
            since_noted(way).decode()
        except UnicodeDecodeError as error:
            return Look(True, f"the log has grown by bytes that are no UTF-8: {error.reason}")
        return Look(False, "all that was written since is UTF-8")
