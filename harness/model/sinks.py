"""How the far end of a channel may behave when it does not do its work."""

from __future__ import annotations

from enum import StrEnum


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
