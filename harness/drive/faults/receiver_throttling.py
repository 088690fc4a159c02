"""The chat service wants fewer messages: it takes none and says when to come again."""

from __future__ import annotations

from harness.drive.far_end import FarEndFault, status
from harness.drive.faults import LaneControl
from harness.drive.look import Look
from harness.model.sinks import Behaviour


class ReceiverThrottling(FarEndFault):
    """Discord's webhook answers 429 with Retry-After to everything."""

    id = "receiver-throttling"
    summary = (
        "The chat service (Discord) answers every message with HTTP 429 and Retry-After until the fault is healed."
    )
    channel = "discord"
    how = Behaviour.THROTTLE
    effect = "a request of our own is answered 429"

    async def seen(self, control: LaneControl) -> Look:
        """Whether a GET of our own is answered 429."""
        return await status(control, self.channel, 429)
