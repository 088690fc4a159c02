"""The mail server refuses every mail when it has read it, as a filter for spam does."""

from __future__ import annotations

from harness.drive.far_end import MailFault
from harness.model.sinks import Behaviour


class MailRefusingContent(MailFault):
    """554 to every mail after DATA."""

    id = "mail-refusing-content"
    summary = "The mail server answers 554 to every mail after its content was sent, until the fault is healed."
    how = Behaviour.REFUSE_CONTENT
    effect = "a mail of our own is answered 554 after DATA"
    stage = "DATA"
    code = 554
