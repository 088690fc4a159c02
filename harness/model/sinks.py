"""How the far end of a channel may behave when it does not do its work."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from harness.model.stack import Address, ReceiverBinding


class Behaviour(StrEnum):
    """What a sink does with who comes to it. The last two are a mail server's; the others are HTTP's as well."""

    WELL = "well"
    """It takes messages."""
    ERROR = "error"
    """It answers with a server error: HTTP 500, SMTP 451 to MAIL."""
    THROTTLE = "throttle"
    """It wants fewer messages: HTTP 429 with Retry-After, SMTP 421 at the greeting."""
    HANG = "hang"
    """It takes the connection and never answers."""
    REFUSE_RECIPIENT = "refuse-recipient"
    """It refuses before DATA: SMTP 550 to RCPT."""
    REFUSE_CONTENT = "refuse-content"
    """It refuses after DATA: SMTP 554 to the whole message."""


LOOK_PATH = "/health"
"""What every sink that is spoken to over HTTPS answers a GET for with 200 while it is well: a look, and no message."""

LOOK_USER = "/look@sandbox"
"""Who a mail server lets in to look: its mail is answered like everybody's and never delivered. No receiver can be
called so, for a receiver's name is quoted before it becomes a user's."""


class Channels(Protocol):
    """The far ends of the channels, which a fault may make misbehave as real services do."""

    def address(self, channel: str) -> Address:
        """Where a channel's sink listens.

        Raises:
            FaultError: no sink of this channel is open; so for all of these.
        """

    def binding(self, channel: str) -> ReceiverBinding:
        """What Alertmanager is told of it, credentials included: a fault looks as who sends messages would."""

    def misbehave(self, channel: str, how: Behaviour) -> None:
        """Makes a channel's sink answer like that from the next connection or request on.

        Raises:
            FaultError: this sink's protocol has no such answer.
        """

    def behave(self, channel: str) -> None:
        """Makes it answer as in health again."""
