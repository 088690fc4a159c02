"""A second component beside the one that runs, for a while: of the same program, with a configuration of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from harness.errors import StackError
from harness.model.stack import Address
from harness.stack.components.registry import component_of
from harness.stack.layout import Layout
from harness.stack.readiness import until_ready
from harness.stack.runtimes import Runtime

_READY_SECONDS = 15.0
_GRACE_SECONDS = 0.2


@asynccontextmanager
async def understudy(layout: Layout, runtime: Runtime, kind: str, name: str, text: str) -> AsyncIterator[Address]:
    """Starts a second component of a shared one's kind beside it; leaving ends it.

    It is none of the stack's: nothing supervises it, no fault knows it, and nobody but who is told its address speaks
    to it.

    Args:
        layout: where everything stands.
        runtime: how components are run.
        kind: of which kind it is.
        name: what it is called, in its folder, its log and the name of its configuration file.
        text: its configuration; it lies beside the original's, so that relative paths in it lead where they did.

    Raises:
        StackError: there is no such component, or the second one could not be started.
        ComponentDied: it ended before it was ready.
        NotReady: it was not ready in time.
    """
    site = next((site for site in layout.sites if site.component.kind == kind and site.lane is None), None)
    if site is None or site.configuration is None:
        raise StackError(f"There is no {kind} with a configuration of its own to start a second one of")
    own = replace(
        site,
        component=replace(site.component, name=name),
        address=layout.ports.take(),
        data=site.data.with_name(name),
        log=site.log.with_name(f"{name}.log"),
        configuration=site.configuration.with_name(f"{name}.yml"),
    )
    assert own.configuration is not None
    try:
        own.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        own.configuration.touch(mode=0o600)
        own.configuration.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StackError(f"The files of {name} cannot be written", seen=str(error)) from error
    component = component_of(kind)
    await component.prepare(own)
    running = await runtime.start(component.launch(own))
    try:
        await until_ready(component, own, running, _READY_SECONDS)
        yield own.address
    finally:
        await running.stop(_GRACE_SECONDS)
        layout.ports.release(own.address)
