"""The sinks of all channels: opened, and as a fault may make them misbehave."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

from harness.errors import FaultError
from harness.model.sinks import Behaviour
from harness.model.stack import Address, ReceiverBinding
from harness.observe.certificates import write_certificate
from harness.observe.channels import Sink
from harness.observe.channels.registry import CHANNELS
from harness.observe.inbox import Inbox
from harness.observe.redaction import Redactor


async def open_sinks(
    exits: AsyncExitStack, inbox: Inbox, sandbox: Path, redactor: Redactor
) -> tuple[Path, Mapping[str, Sink]]:
    """Opens a sink of every channel; the authority that vouches for them, and the sinks by the channel's name.

    Args:
        exits: closes them.
        inbox: takes what arrives.
        sandbox: the run's sandbox, for their certificate.
        redactor: learns their secrets.
    """
    certificate = write_certificate(sandbox / "certificates")
    sinks = {}
    for channel in CHANNELS:
        sink = await exits.enter_async_context(channel.open(certificate, inbox.deliver, inbox.refuse))
        binding = sink.binding
        values = {**binding.settings, **(binding.global_settings or {})}
        redactor.learn(values[name] for name in binding.secret if values.get(name))
        sinks[channel.name] = sink
    return certificate.authority, sinks


class FarEnds:
    """The far ends of the channels by the channel's name: what `Channels` in `harness/model/sinks.py` promises.

    Args:
        sinks: those that are open.
    """

    def __init__(self, sinks: Mapping[str, Sink]) -> None:
        self._sinks = sinks

    def address(self, channel: str) -> Address:
        """Where a channel's sink listens.

        Raises:
            FaultError: no sink of this channel is open.
        """
        return self._sink(channel).address

    def binding(self, channel: str) -> ReceiverBinding:
        """What Alertmanager is told of it.

        Raises:
            FaultError: no sink of this channel is open.
        """
        return self._sink(channel).binding

    def misbehave(self, channel: str, how: Behaviour) -> None:
        """Makes a channel's sink answer like that from the next connection or request on.

        Raises:
            FaultError: no sink of this channel is open, or its protocol has no such answer.
        """
        self._sink(channel).behave(how)

    def behave(self, channel: str) -> None:
        """Makes it answer as in health again.

        Raises:
            FaultError: no sink of this channel is open.
        """
        self._sink(channel).behave(Behaviour.WELL)

    def _sink(self, channel: str) -> Sink:
        sink = self._sinks.get(channel)
        if sink is None:
            raise FaultError(
                f"there is no sink of the channel `{channel}`",
                expected=f"one of {', '.join(sorted(self._sinks)) or 'none: no sink is open'}",
            )
        return sink
