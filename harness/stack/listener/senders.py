"""One message to one channel: taken, or `Undelivered` with the reason, which holds no password and no webhook's URL."""

from __future__ import annotations

import asyncio
import smtplib
import socket
import ssl
from collections.abc import Mapping
from typing import Final, Protocol

import aiohttp

from harness.policy.parse.dead_man import Email
from harness.stack.listener.words import Message

ATTEMPT_SECONDS: Final = 5.0
"""How long a server may take to answer; a mail server to each of its commands."""


class Undelivered(Exception):
    """A message was not taken; `wait_seconds` is what the other side asked for."""

    def __init__(self, why: str, wait_seconds: float = 0.0) -> None:
        super().__init__(why)
        self.wait_seconds = wait_seconds


class Sender(Protocol):
    """The way to one channel."""

    async def send(self, message: Message) -> None:
        """Hands a message over.

        Raises:
            Undelivered: it was not taken.
        """


class MailSender:
    """A mail server that offers STARTTLS and asks for AUTH: nothing is ever sent in the clear."""

    def __init__(self, settings: Email, password: str) -> None:
        self._settings = settings
        self._password = password

    async def send(self, message: Message) -> None:
        """Hands the mail over, in a thread: the library waits for each answer.

        Raises:
            Undelivered: the server was not there, is not trusted, or did not take it.
        """
        try:
            await asyncio.to_thread(self._send, message)
        except (OSError, smtplib.SMTPException) as error:
            raise Undelivered(f"{type(error).__name__}: {error}") from error

    def _send(self, message: Message) -> None:
        settings = self._settings
        host, _, port = settings.smarthost.rpartition(":")
        # Its own name without asking a name server, which may be gone together with the monitoring.
        with smtplib.SMTP(host, int(port), local_hostname=socket.gethostname(), timeout=ATTEMPT_SECONDS) as server:
            server.starttls(context=ssl.create_default_context())
            server.login(settings.username, self._password)
            server.send_message(message.mail(settings.sender, settings.recipients), to_addrs=settings.recipients)


class SlackSender:
    """An incoming webhook of Slack's."""

    def __init__(self, url: str, channel: str) -> None:
        self._url = url
        self._channel = channel

    async def send(self, message: Message) -> None:
        """Posts it.

        Raises:
            Undelivered: Slack did not answer 200.
        """
        await _post(self._url, message.slack(self._channel))


class DiscordSender:
    """A webhook of Discord's."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def send(self, message: Message) -> None:
        """Posts it.

        Raises:
            Undelivered: Discord did not answer 200 or 204.
        """
        await _post(self._url, message.discord())


async def _post(url: str, payload: Mapping[str, object]) -> None:
    timeout = aiohttp.ClientTimeout(total=ATTEMPT_SECONDS)
    try:
        # A connection of its own for each: one that was kept since the last time may long be dead.
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=True) as session,
            session.post(url, json=payload, allow_redirects=False) as answer,
        ):
            if answer.status not in {200, 204}:
                raise Undelivered(f"answered {answer.status}", _asked_to_wait(answer.headers.get("Retry-After", "")))
    except TimeoutError as error:
        raise Undelivered(f"no answer within {ATTEMPT_SECONDS:g} s") from error
    except (aiohttp.ClientError, ValueError) as error:
        # The text of some of these holds the URL, which is the credential.
        raise Undelivered(f"could not be posted: {type(error).__name__}") from error


def _asked_to_wait(text: str) -> float:
    """Seconds of a Retry-After; its other form, a date, is no service's that is spoken to here."""
    try:
        return max(float(text), 0.0)
    except ValueError:
        return 0.0
