"""What faults at the far ends of channels share: a look as a sender would look, and a sink that is told to misbehave.

The sinks and who looks at them run on one event loop: where a look gets an answer from one and none from another, it
was not our own slowness.
"""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from harness.drive.faults import LaneControl, Proof, Reach
from harness.drive.look import LOOK_SECONDS, Look, address_facts, answers, watch
from harness.errors import EffectNotProven, FaultError
from harness.model.sinks import LOOK_PATH, LOOK_USER, Behaviour
from harness.model.stack import Address

WELL_SECONDS = 5.0
"""How long a sink may take to show that it is well before anything is done to it."""


class FarEndFault(ABC):
    """A fault of one channel's sink: told to misbehave, looked at, told to do its work again.

    While it is in place nobody hears of anything over that channel, so nothing else may go on. `channel` and `how` say
    which sink and what it does; `effect` is what the fault's own connection must see.
    """

    signal = "real"
    touches = frozenset({"channels"})
    reach = Reach.ALONE
    channel: ClassVar[str]
    how: ClassVar[Behaviour]
    effect: ClassVar[str]

    @abstractmethod
    async def seen(self, control: LaneControl) -> Look:
        """One look for the effect, over a connection of its own."""

    async def well(self, control: LaneControl) -> Look:
        """One look for health, over a connection of its own: a GET that answers 200, where nothing else is said."""
        return await answers(control.channels.address(self.channel), LOOK_PATH, secure=True)

    def facts(self, control: LaneControl) -> Mapping[str, str]:
        """Where the sink listens; it lives in the harness and dies with it."""
        return address_facts(control.channels.address(self.channel))

    async def apply(self, control: LaneControl) -> None:
        """Makes the sink misbehave, after a look that it was well: what failed before proves nothing.

        Raises:
            FaultError: it was not well before, is not open, or cannot behave so.
        """
        await watch(
            lambda: self.well(control),
            WELL_SECONDS,
            otherwise=FaultError,
            what=f"The far end of the channel `{self.channel}` was not well before it was to misbehave",
            expected="it answers as it does in health",
        )
        control.channels.misbehave(self.channel, self.how)

    async def prove(self, control: LaneControl, deadline_seconds: float) -> Proof:
        """A connection of our own meets what a sender would meet.

        Raises:
            EffectNotProven: it does not.
        """
        return await watch(
            lambda: self.seen(control),
            deadline_seconds,
            otherwise=EffectNotProven,
            what=f"The far end of the channel `{self.channel}` was told to misbehave and does not",
            expected=self.effect,
        )

    async def undo(self, control: LaneControl, deadline_seconds: float) -> Proof:
        """Lets the sink do its work again and waits until a connection of our own is served.

        Raises:
            FaultError: it is not in time.
        """
        control.channels.behave(self.channel)
        return await watch(
            lambda: self.well(control),
            deadline_seconds,
            otherwise=FaultError,
            what=f"The far end of the channel `{self.channel}` was told to do its work again and does not",
            expected="it answers as it does in health",
        )

    async def undo_from(self, facts: Mapping[str, str]) -> bool:  # noqa: ARG002 - nothing of them is needed
        """Nothing outlives a crash: the sink was a part of the harness."""
        return False


class MailFault(FarEndFault):
    """A fault of the mail server: looked at by a whole conversation, and by a mail that is never delivered."""

    channel = "email"
    stage: ClassVar[str]
    """At which step of the conversation the mail must be turned away; `DATA` is after its content was sent."""
    code: ClassVar[int]
    """With which code."""

    async def seen(self, control: LaneControl) -> Look:
        """Whether a mail is turned away at its step, by its code."""
        stage, code, saw = await mail(control)
        return Look((stage, code) == (self.stage, self.code), saw)

    async def well(self, control: LaneControl) -> Look:
        """Whether a mail is taken."""
        stage, _, saw = await mail(control)
        return Look(stage == "taken", saw)


async def status(control: LaneControl, channel: str, wanted: int) -> Look:
    """Whether a GET at a sink that is spoken to over HTTPS is answered with this status."""
    return await answers(control.channels.address(channel), LOOK_PATH, wanted, secure=True)


async def unanswered(address: Address) -> Look:
    """Whether somebody takes a request over TLS and says nothing to it for a second.

    Only silence after the handshake counts: by that the other side had shown that it is there and not merely slow.
    """
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE  # who it is does not matter to a look
    writer = None
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            reader, writer = await asyncio.open_connection(address.host, address.port, ssl=trust)
            writer.write(f"GET {LOOK_PATH} HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())
            await writer.drain()
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                said = await reader.readline()
        except TimeoutError:
            return Look(True, f"{address} took a request and did not answer for {LOOK_SECONDS:g} s")
    except (OSError, TimeoutError) as error:
        return Look(False, f"{address}: {error or 'no connection'}")
    finally:
        if writer is not None:
            writer.transport.abort()
    return Look(False, f"{address} answered `{said.decode('ascii', 'replace').strip()}`")


async def unspoken(address: Address) -> Look:
    """Whether somebody takes a connection and does not greet for a second."""
    writer = None
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            reader, writer = await asyncio.open_connection(address.host, address.port)
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                said = await reader.readline()
        except TimeoutError:
            return Look(True, f"{address} took the connection and did not greet for {LOOK_SECONDS:g} s")
    except (OSError, TimeoutError) as error:
        return Look(False, f"{address}: {error or 'no connection'}")
    finally:
        if writer is not None:
            writer.transport.abort()
    return Look(False, f"{address} greeted with `{said.decode('ascii', 'replace').strip()}`")


async def mail(control: LaneControl) -> tuple[str, int, str]:
    """One mail as Alertmanager would send it, by the user whose mail nobody gets.

    Returns:
        The step at which it was turned away (`taken`: at none), with which code, and both as a sentence says it.
    """
    address = control.channels.address("email")
    password = control.channels.binding("email").settings["auth_password"]
    stage, code, said = await asyncio.to_thread(_send, address, password)
    return stage, code, f"{address} answered {code} at {stage}" if code else f"{address}: {said}"


def _send(address: Address, password: str) -> tuple[str, int, str]:
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE  # who it is does not matter to a look
    try:
        with smtplib.SMTP(address.host, address.port, timeout=LOOK_SECONDS) as client:
            client.starttls(context=trust)
            client.login(LOOK_USER, password)
            client.sendmail(LOOK_USER, [LOOK_USER], "Subject: a look\r\n\r\nnobody gets this\r\n")
    except smtplib.SMTPRecipientsRefused as refused:
        code = next(iter(refused.recipients.values()))[0]
        return "RCPT", code, ""
    except smtplib.SMTPSenderRefused as refused:
        return "MAIL", refused.smtp_code, ""
    except smtplib.SMTPDataError as refused:
        return "DATA", refused.smtp_code, ""
    except smtplib.SMTPConnectError as refused:
        return "greeting", refused.smtp_code, ""
    except smtplib.SMTPResponseException as refused:
        return "login", refused.smtp_code, ""
    except (OSError, smtplib.SMTPException) as broken:
        return "nothing", 0, str(broken) or type(broken).__name__
    return "taken", 250, ""
