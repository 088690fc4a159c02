"""The back end of push messages hangs: it takes requests and never answers."""

from __future__ import annotations

from harness.drive.far_end import FarEndFault, unanswered
from harness.drive.faults import LaneControl
from harness.drive.look import Look
from harness.model.sinks import Behaviour


class ReceiverHanging(FarEndFault):
    """The back end of push messages takes every request and answers none."""

    id = "receiver-hanging"
    summary = "The back end of push messages takes every request and never answers until the fault is healed."
    channel = "push"
    how = Behaviour.HANG
    effect = "a request of our own is taken and gets no answer"

    async def seen(self, control: LaneControl) -> Look:
        """Whether a GET of our own is taken and not answered."""
        return await unanswered(control.channels.address(self.channel))
