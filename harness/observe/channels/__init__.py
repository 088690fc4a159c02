"""Channels: one file each. A channel knows its receiver's syntax, runs the sink, and reads a message as a person would.

`CHANNELS` in `harness/observe/channels/registry.py` is the one tuple of all that there are.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from harness.model.hops import Hop
from harness.model.notifications import Notification, RawMessage
from harness.model.sinks import Behaviour
from harness.model.stack import Address, ReceiverBinding


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a sink serves TLS with: its chain and key; `authority` is the PEM of the sandbox's own authority."""

    chain: Path
    key: Path
    authority: Path


class Sink(Protocol):
    """The far end of a channel while it is open."""

    @property
    def address(self) -> Address:
        """Where it listens, on loopback."""

    def behave(self, how: Behaviour) -> None:
        """From the next connection or request on, answers like that; what it refuses is told to `refuse`.

        Raises:
            FaultError: this sink's protocol has no such answer.
        """

    @property
    def binding(self) -> ReceiverBinding:
        """What the rewire must write into alertmanager.yml so that messages come here."""


Deliver = Callable[[RawMessage], None]
"""Called by a sink for each message, at the instant at which the last byte of it had arrived."""

Refuse = Callable[[str, str], None]
"""Called by a sink (channel, sentence) when somebody spoke to it and no message could be taken."""


class Channel(Protocol):
    """One way to reach a person."""

    @property
    def name(self) -> str:
        """As drills.yaml and every report name it: email, slack, …"""

    @property
    def receiver_key(self) -> str:
        """Its key in a receiver of alertmanager.yml: `email_configs`, `slack_configs`, …"""

    @property
    def terminal_hop(self) -> Hop:
        """The hop at which a message has reached its person."""

    def open(self, certificate: Certificate, deliver: Deliver, refuse: Refuse) -> AbstractAsyncContextManager[Sink]:
        """Opens the sink on a free port of loopback; leaving closes it.

        Raises:
            StackError: it cannot listen.
        """

    def read(self, raw: RawMessage) -> Notification:
        """The message as a person would read it; never raises, what cannot be read has status `unknown`."""
