"""The copies that run: made for the lanes that stand, written into the run's folder, and told of in its ledger."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from harness.model.events import FindingNoted, Payload, Rewired
from harness.model.policy import Policies
from harness.model.stack import Address, ReceiverBinding
from harness.observe.folder import write_whole
from harness.observe.redaction import Redactor
from harness.policy.rewire.rewiring import Rewiring, rewire
from harness.stack.stack import Stack


class Copies:
    """The copies that one run makes of what it rehearses.

    Args:
        folder: the run's folder.
        redactor: takes credentials out of what is written there.
        write: takes the events.
    """

    def __init__(self, folder: Path, redactor: Redactor, write: Callable[[Payload], None]) -> None:
        self._folder = folder
        self._redactor = redactor
        self._write = write
        self._told: set[Payload] = set()

    def made(
        self,
        policies: Policies,
        stack: Stack,
        bindings: Sequence[ReceiverBinding],
        instead: Mapping[str, Mapping[str, Address]],
    ) -> Rewiring:
        """The copy that runs; written into the run's folder too.

        Lanes that were given up are not in it. What it says of itself is written where no copy before it has said so.

        Args:
            policies: what is rehearsed.
            stack: where it will run.
            bindings: of the sinks.
            instead: addresses of production that lead elsewhere than to their component, by lane: a recording proxy.
        """
        sandbox = stack.layout.sandbox(bindings)
        production = {
            address: {lane: where for lane, where in places.items() if lane not in stack.given_up}
            for address, places in sandbox.production.items()
        } | dict(instead)
        lanes = tuple(lane.name for lane in stack.lanes)
        copy = rewire(policies, replace(sandbox, lanes=lanes, production=production))
        told: list[Payload] = [*map(Rewired, copy.differences), *map(FindingNoted, copy.findings)]
        for payload in dict.fromkeys(told):
            if payload not in self._told:
                self._told.add(payload)
                self._write(payload)
        for name, text in copy.files.items():
            write_whole(self._folder / "rewired" / name, self._redactor.text(text))
        return copy
