"""The server hangs: its process is stopped where it is, its port still takes connections, and nobody is answered."""

from __future__ import annotations

from harness.drive.component_fault import ComponentFault
from harness.drive.faults import LaneControl
from harness.drive.look import Look, answers
from harness.drive.newcomer import Met, meet

_HEALTH = "/health"
_SILENT_SECONDS = 1.5


class ServerFrozen(ComponentFault):
    """SIGSTOP to the lane's subject, SIGCONT to heal."""

    id = "server-frozen"
    summary = "The application's process is frozen (SIGSTOP): it holds its connections and answers nobody until healed."
    component = "community-platform"
    what = "the server"
    done = "frozen"
    effect = f"a fresh connection for GET {_HEALTH} is taken and hears nothing within {_SILENT_SECONDS:g} s"
    health = f"GET {_HEALTH} answers 200"

    async def disturb(self, control: LaneControl) -> None:
        """Freezes it."""
        await control.freeze(self.component)

    async def mend(self, control: LaneControl) -> None:
        """Lets it go on."""
        await control.thaw(self.component)

    async def seen(self, control: LaneControl) -> Look:
        """Silence, from its beginning; a server that refuses or cuts is dead and not frozen."""
        request = f"GET {_HEALTH} HTTP/1.0\r\n\r\n".encode()
        meeting = await meet(self.address(control), request, within_seconds=_SILENT_SECONDS)
        return meeting.look(meeting.met is Met.SILENCE)

    async def well(self, control: LaneControl) -> Look:
        """Health answers 200."""
        return await answers(self.address(control), _HEALTH)
