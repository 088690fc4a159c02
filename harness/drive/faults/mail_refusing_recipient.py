"""The mail server knows no recipient: it refuses each before the mail is sent."""

from __future__ import annotations

from harness.drive.far_end import MailFault
from harness.model.sinks import Behaviour


class MailRefusingRecipient(MailFault):
    """550 to every RCPT."""

    id = "mail-refusing-recipient"
    summary = "The mail server answers 550 to every recipient, before the content is sent, until the fault is healed."
    how = Behaviour.REFUSE_RECIPIENT
    effect = "a mail of our own is answered 550 at RCPT"
    stage = "RCPT"
    code = 550
