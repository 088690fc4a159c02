"""Waiting until a component works, or until it is clear that it will not."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence

from harness.errors import AddressTaken, ComponentDied, NotReady, StackError
from harness.stack.components import Component
from harness.stack.ports import who_listens
from harness.stack.runtimes import Running
from harness.stack.site import Site

_FIRST_SECOND_POLL = 0.02
_LATER_POLL = 0.08
_TAIL_LINES = 20


async def until_ready(component: Component, site: Site, running: Running, deadline_seconds: float = math.inf) -> None:
    """Looks again and again until the component is ready.

    Raises:
        ComponentDied: it ended before it was ready.
        AddressTaken: it ended, and somebody else listens where it should.
        NotReady: it was not ready at the deadline.
    """
    began = time.monotonic()
    looking = asyncio.create_task(_look(component, site, began, began + deadline_seconds))
    ending = asyncio.create_task(running.wait())
    try:
        await asyncio.wait({looking, ending}, return_when=asyncio.FIRST_COMPLETED)
        if ending.done():
            raise await death(site, running, ending.result())
        missing = looking.result()
    finally:
        for task in (looking, ending):
            task.cancel()
        await asyncio.gather(looking, ending, return_exceptions=True)
    if missing is not None:
        raise NotReady(
            f"{site.title} did not become ready",
            expected=f"it works at {site.address}",
            seen=missing,
            waited_seconds=time.monotonic() - began,
            output=told(site, running),
            hint=f"its whole output is in {site.log}",
        )


async def death(site: Site, running: Running, code: int) -> StackError:
    """The error that says how a component ended; `AddressTaken` where somebody else has its port."""
    output = told(site, running)
    other = await asyncio.to_thread(who_listens, site.address)
    if other is not None:
        return AddressTaken(
            f"{site.title} cannot listen at {site.address}",
            expected="a port that is free",
            seen=f"{other} listens there",
            output=output,
            hint="end that process, or start the run again: other ports are chosen each time",
        )
    ended = f"signal {-code}" if code < 0 else f"code {code}"
    return ComponentDied(
        f"{site.title} ended with {ended} before it was ready",
        expected=f"it runs and works at {site.address}",
        output=output,
        hint=f"its whole output is in {site.log}",
    )


def told(site: Site, running: Running, lines: int = _TAIL_LINES) -> tuple[str, ...]:
    """The last lines of a component, without the run's credentials."""
    return redacted(running.tail(lines), site)


def redacted(lines: Sequence[str], site: Site) -> tuple[str, ...]:
    """Lines without the credentials of the component's lane."""
    hidden = [value for name, value in site.secrets.items() if name.endswith("password")]
    cleaned = []
    for line in lines:
        for value in hidden:
            line = line.replace(value, "***")  # noqa: PLW2901 - the line as it will be shown
        cleaned.append(line)
    return tuple(cleaned)


async def _look(component: Component, site: Site, began: float, deadline: float) -> str | None:
    """Looks until the component is ready; at the deadline what was still missing."""
    while (missing := await component.ready(site)) is not None:
        now = time.monotonic()
        if now >= deadline:
            return missing
        await asyncio.sleep(_FIRST_SECOND_POLL if now - began < 1 else _LATER_POLL)
    return None
