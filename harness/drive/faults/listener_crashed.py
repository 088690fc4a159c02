"""The dead man's listener crashes and is started again by its own unit."""

from __future__ import annotations

from harness.drive.faults import Reach
from harness.drive.monitoring import CrashedPart


class ListenerCrashed(CrashedPart):
    """`kill -9` of the dead man's listener; it is looked at through the relay in its path, as heartbeats come."""

    id = "listener-crashed"
    summary = "The dead man's listener is killed (kill -9) and has to recover by its own unit."
    component = "dead-mans-listener"
    called = "The dead man's listener"
    health = "/health"
    touches = frozenset({"heartbeat"})
    reach = Reach.SHARED  # the way of no other alert leads through it
