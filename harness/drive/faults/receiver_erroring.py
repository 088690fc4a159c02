"""The chat service fails: it answers every message with a server error."""

from __future__ import annotations

from harness.drive.far_end import FarEndFault, status
from harness.drive.faults import LaneControl
from harness.drive.look import Look
from harness.model.sinks import Behaviour


class ReceiverErroring(FarEndFault):
    """Slack's webhook answers 500 to everything."""

    id = "receiver-erroring"
    summary = "The chat service (Slack) answers every message with HTTP 500 until the fault is healed."
    channel = "slack"
    how = Behaviour.ERROR
    effect = "a request of our own is answered 500"

    async def seen(self, control: LaneControl) -> Look:
        """Whether a GET of our own is answered 500."""
        return await status(control, self.channel, 500)
