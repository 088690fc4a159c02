"""The database cannot be reached: connections to it are cut in their path, and new ones are refused."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from harness.drive.faults import APPLICATION, LaneControl, Proof, Reach
from harness.drive.look import LOOK_SECONDS, Look, address_facts, told_as_fault, watch
from harness.drive.newcomer import GREETING, greeted
from harness.errors import EffectNotProven, FaultError
from harness.model.stack import Address

_COMPONENT = "mysql"
_WELL_SECONDS = 2.0


class DatabaseRefused:
    """The relay in the database's path resets every connection and refuses new ones; the database itself runs on."""

    id = "database-refused"
    summary = (
        "Every connection to the database is reset in its path and new ones are refused until the fault is healed."
    )
    signal = "real"
    touches = APPLICATION
    reach = Reach.LANE

    def facts(self, control: LaneControl) -> Mapping[str, str]:
        """Where the relay listens; it lives in the harness and dies with it."""
        return address_facts(_address(control))

    async def apply(self, control: LaneControl) -> None:
        """Refuses, after a look that the database could be reached: what was cut before proves nothing.

        Raises:
            FaultError: the database could not be reached before, or its path cannot be cut.
        """
        await watch(
            lambda: greeted(_address(control)),
            _WELL_SECONDS,
            otherwise=FaultError,
            what="The database could not be reached before its path was to be cut",
            expected=GREETING,
        )
        with told_as_fault("The path to the database could not be cut"):
            await control.refuse(_COMPONENT)

    async def prove(self, control: LaneControl, deadline_seconds: float) -> Proof:
        """A connection of our own, by the path that everybody takes, is refused.

        Raises:
            EffectNotProven: it was not.
        """
        return await watch(
            lambda: _refused(_address(control)),
            deadline_seconds,
            otherwise=EffectNotProven,
            what="The path to the database was cut and the database can still be reached",
            expected="a fresh TCP connection is refused",
        )

    async def undo(self, control: LaneControl, deadline_seconds: float) -> Proof:
        """Lets connections through again and waits for the database's greeting.

        Raises:
            FaultError: the path could not be restored, or no database greets through it in time.
        """
        with told_as_fault("The path to the database could not be restored"):
            await control.restore(_COMPONENT)
        return await watch(
            lambda: greeted(_address(control)),
            deadline_seconds,
            otherwise=FaultError,
            what="The path to the database was restored and the database cannot be reached",
            expected=GREETING,
        )

    async def undo_from(self, facts: Mapping[str, str]) -> bool:  # noqa: ARG002 - nothing of them is needed
        """Nothing outlives a crash: the relay that refused was a part of the harness."""
        return False


def _address(control: LaneControl) -> Address:
    return control.lane.addresses[_COMPONENT]


async def _refused(address: Address) -> Look:
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            _, writer = await asyncio.open_connection(address.host, address.port)
    except ConnectionRefusedError:
        return Look(True, f"{address} refused the connection")
    except (OSError, TimeoutError) as error:
        return Look(False, f"{address}: {error or 'no answer'}")
    writer.close()
    return Look(False, f"{address} took the connection")
