"""Faults of the alerting path: each makes a real sink misbehave, proves it by its own connection, and heals it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import cast

import pytest

from harness.drive import far_end
from harness.drive.faults import Channels, Fault, LaneControl, Reach
from harness.drive.faults.mail_hanging import MailHanging
from harness.drive.faults.mail_refusing_content import MailRefusingContent
from harness.drive.faults.mail_refusing_recipient import MailRefusingRecipient
from harness.drive.faults.receiver_erroring import ReceiverErroring
from harness.drive.faults.receiver_hanging import ReceiverHanging
from harness.drive.faults.receiver_throttling import ReceiverThrottling
from harness.drive.faults.registry import FAULTS
from harness.drive.look import Look
from harness.errors import EffectNotProven, FaultError
from harness.model.notifications import RawMessage
from harness.model.sinks import Behaviour
from harness.model.stack import Address, ReceiverBinding
from harness.observe.certificates import write_certificate
from harness.observe.channels import Certificate, Sink
from harness.observe.channels.registry import CHANNELS
from harness.observe.far_ends import FarEnds

CASES: Mapping[str, tuple[Fault, str, Behaviour, str]] = {
    "receiver-erroring": (ReceiverErroring(), "slack", Behaviour.ERROR, "answered 500"),
    "receiver-throttling": (ReceiverThrottling(), "discord", Behaviour.THROTTLE, "answered 429"),
    "receiver-hanging": (ReceiverHanging(), "push", Behaviour.HANG, "did not answer for 1 s"),
    "mail-refusing-recipient": (MailRefusingRecipient(), "email", Behaviour.REFUSE_RECIPIENT, "answered 550 at RCPT"),
    "mail-refusing-content": (MailRefusingContent(), "email", Behaviour.REFUSE_CONTENT, "answered 554 at DATA"),
    "mail-hanging": (MailHanging(), "email", Behaviour.HANG, "did not greet for 1 s"),
}
every_fault = pytest.mark.parametrize("name", CASES)


@dataclass
class SharedLane:
    """The shared lane as far as these faults see it, and what its sinks heard."""

    channels: Channels
    messages: list[RawMessage] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)

    @property
    def control(self) -> LaneControl:
        """Itself, as a fault is given it."""
        return cast("LaneControl", self)

    def __getattr__(self, name: str) -> object:
        """Nothing else of a lane is needed, so nothing else may be asked for."""
        raise AssertionError(f"the fault asked for `{name}`")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """One certificate for all tests of this file."""
    return write_certificate(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
async def control(certificate: Certificate) -> AsyncIterator[SharedLane]:
    """Every sink, open and well."""
    sinks: dict[str, Sink] = {}
    lane = SharedLane(FarEnds(sinks))
    async with AsyncExitStack() as exits:
        for channel in CHANNELS:
            opening = channel.open(certificate, lane.messages.append, lambda _, why: lane.refusals.append(why))
            sinks[channel.name] = await exits.enter_async_context(opening)
        yield lane


def test_every_fault_of_the_alerting_path_is_tried_here() -> None:
    """Those of the registry that touch the channels, by their ids; each runs alone and is real."""
    assert [fault.id for fault in FAULTS if "channels" in fault.touches] == [*CASES]
    for name, (fault, *_) in CASES.items():
        assert (fault.id, fault.signal, fault.reach) == (name, "real", Reach.ALONE)


@every_fault
async def test_a_fault_proves_itself_and_is_undone(control: SharedLane, name: str) -> None:
    """Applied, proven with an instant after it was applied, undone with proof, twice; no message is made by it."""
    fault, channel, _, saw = CASES[name]
    for _ in range(2):
        begun = time.time()
        await fault.apply(control.control)
        proof = await fault.prove(control.control, 3)
        assert begun < proof.at <= time.time()
        assert saw in proof.saw
        assert str(control.channels.address(channel)) in proof.saw
        healed = await fault.undo(control.control, 3)
        assert healed.at > proof.at
        await fault.undo(control.control, 3)
    assert control.messages == []
    # A look is told to nobody, but where no sink can know who it is: a mail server that never speaks.
    assert len(control.refusals) == (2 if name == "mail-hanging" else 0)


@every_fault
async def test_only_its_own_channel_is_touched(control: SharedLane, name: str) -> None:
    """While one sink misbehaves all others serve."""
    fault, channel, _, _ = CASES[name]
    await fault.apply(control.control)
    for other, (well, its_channel, _, _) in CASES.items():
        if its_channel != channel:
            with pytest.raises(EffectNotProven):
                await well.prove(control.control, 0)
            assert other != name
    await fault.undo(control.control, 3)


@every_fault
async def test_a_fault_that_was_not_applied_cannot_prove_itself(control: SharedLane, name: str) -> None:
    """The twin: with a sink that is well there is nothing to be seen, and that is EffectNotProven, in time."""
    fault, *_ = CASES[name]
    begun = time.monotonic()
    with pytest.raises(EffectNotProven) as told:
        await fault.prove(control.control, 0.3)
    assert time.monotonic() - begun < 2
    assert told.value.seen
    assert told.value.expected


@every_fault
async def test_another_misbehaviour_is_not_taken_for_its_own(control: SharedLane, name: str) -> None:
    """A sink that fails in any other way proves nothing."""
    fault, channel, how, _ = CASES[name]
    for other in Behaviour:
        mail_only = other in {Behaviour.REFUSE_RECIPIENT, Behaviour.REFUSE_CONTENT}
        if other is how or (mail_only and channel != "email"):
            continue
        control.channels.misbehave(channel, other)
        with pytest.raises(EffectNotProven):
            await fault.prove(control.control, 0)


@every_fault
async def test_a_sink_that_is_not_well_is_not_touched(
    control: SharedLane, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is broken before would be a proof of nothing: FaultError, and the sink stays as it was."""
    monkeypatch.setattr(far_end, "WELL_SECONDS", 0.1)
    fault, channel, _, _ = CASES[name]
    control.channels.misbehave(channel, Behaviour.ERROR if name != "receiver-erroring" else Behaviour.THROTTLE)
    with pytest.raises(FaultError, match="was not well before"):
        await fault.apply(control.control)
    with pytest.raises(EffectNotProven):
        await fault.prove(control.control, 0)


@every_fault
async def test_a_fault_that_does_not_heal_is_told(control: SharedLane, name: str) -> None:
    """The twin of undoing: where the sink goes on misbehaving nobody says that it is well."""
    fault, _, _, _ = CASES[name]

    class Deaf:
        """Far ends that never do their work again."""

        def address(self, channel: str) -> Address:
            """As it is."""
            return control.channels.address(channel)

        def binding(self, channel: str) -> ReceiverBinding:
            """As it is."""
            return control.channels.binding(channel)

        def misbehave(self, channel: str, how: Behaviour) -> None:
            """As it does."""
            control.channels.misbehave(channel, how)

        def behave(self, channel: str) -> None:
            """Does not."""

    lane = SharedLane(Deaf())
    await fault.apply(lane.control)
    with pytest.raises(FaultError, match="does not"):
        await fault.undo(lane.control, 0.2)


@every_fault
async def test_what_the_journal_gets_is_strings_and_nothing_is_left_after_a_crash(
    control: SharedLane, name: str
) -> None:
    """The sink dies with the harness."""
    fault, channel, _, _ = CASES[name]
    facts = fault.facts(control.control)
    address = control.channels.address(channel)
    assert facts == {"host": address.host, "port": str(address.port)}
    assert await fault.undo_from(facts) is False


async def test_a_closed_channel_is_told_in_a_sentence(control: SharedLane) -> None:
    """A fault of a channel that is not open cannot be tried, and says which are."""
    nowhere = SharedLane(FarEnds({}))
    for fault, channel, _, _ in CASES.values():
        with pytest.raises(FaultError, match=f"no sink of the channel `{channel}`"):
            await fault.apply(nowhere.control)
    with pytest.raises(FaultError, match="pager"):
        control.channels.misbehave("pager", Behaviour.ERROR)
    with pytest.raises(FaultError, match="pager"):
        control.channels.behave("pager")


async def test_silence_without_a_handshake_proves_nothing() -> None:
    """A service that never even shakes hands may be a machine that is too slow: that is not the fault's effect."""

    async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        gone.append(writer)

    gone: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    address = Address(*server.sockets[0].getsockname())
    seen: Look = await far_end.unanswered(address)
    assert not seen.there
    assert (await far_end.unspoken(address)).there
    for writer in gone:
        writer.close()
    server.close()
    refused = await far_end.unspoken(address)
    assert not refused.there
