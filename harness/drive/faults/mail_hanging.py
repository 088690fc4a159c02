"""The mail server hangs: it takes connections and never says a word."""

from __future__ import annotations

from harness.drive.far_end import MailFault, unspoken
from harness.drive.faults import LaneControl
from harness.drive.look import Look
from harness.model.sinks import Behaviour


class MailHanging(MailFault):
    """No greeting to anybody who connects."""

    id = "mail-hanging"
    summary = "The mail server takes every connection and never greets until the fault is healed."
    how = Behaviour.HANG
    effect = "a connection of our own is taken and not greeted"

    async def seen(self, control: LaneControl) -> Look:
        """Whether a connection of our own is taken and not greeted."""
        return await unspoken(control.channels.address(self.channel))
