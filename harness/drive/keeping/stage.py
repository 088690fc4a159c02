"""The stage of a run in which stores are kept: every store that the policies declare, one after another."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Collection, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

from harness.drive.keeping import Keeper, Sizes
from harness.drive.keeping.ground import Ground, unwritable
from harness.drive.keeping.registry import KEEPERS
from harness.errors import HarnessError
from harness.model.events import FindingNoted, Payload, Progress
from harness.model.findings import Finding, Severity, Subject
from harness.model.keeping import RestoreDrilled, RetentionProbed, StoresDeclared, StoreToKeep
from harness.model.policy import ComponentPolicy, Policies
from harness.model.stack import Artifact
from harness.stack.guard import Guard
from harness.stack.ports import Ports
from harness.stack.runtimes import Runtime

ASKED_DAYS = 90.0
"""How old data must be able to become; what answers beyond it costs and is told as a finding."""


def stores(policies: Policies, keepers: Collection[Keeper] = KEEPERS) -> tuple[tuple[ComponentPolicy, Keeper], ...]:
    """The stores that the policies declare, with who keeps them: the kinds of stack.yaml that there is a keeper for."""
    by_kind = {keeper.kind: keeper for keeper in keepers}
    return tuple((one, by_kind[one.kind]) for one in policies.components if one.kind in by_kind)


def artifacts_to_keep(policies: Policies) -> tuple[str, ...]:
    """The provisioner's names of what keeping these stores needs, each once."""
    return tuple(dict.fromkeys(name for _, keeper in stores(policies) for name in keeper.artifacts))


async def keep(
    policies: Policies,
    artifacts: Mapping[str, Artifact],
    folder: Path,
    runtime: Runtime,
    guard: Guard,
    write: Callable[[Payload], None],
    *,
    cache: Path,
    sizes: Sizes = Sizes.GATE,
    keepers: Collection[Keeper] = KEEPERS,
) -> None:
    """Probes the retention of every store, and drills its restore at three sizes; what fails is told in its event.

    Every instance is a process of its own in a folder of the run's sandbox; the run's live stores are not touched.

    Args:
        policies: which stores production has, and how it starts them.
        artifacts: what the provisioner brought; what is lacking makes that store's events say so.
        folder: the run's folder, which takes the logs.
        runtime: how components are run.
        guard: whose sandbox is used.
        write: takes the events.
        cache: the user's cache.
        sizes: how large the drills are.
        keepers: who can keep what.

    Raises:
        DiskFull, StackError: the stage has no folder to work in.
    """
    kept = stores(policies, keepers)
    write(StoresDeclared(tuple(StoreToKeep(one.name, one.kind, keeper.ages) for one, keeper in kept)))
    place = guard.sandbox / "keeping"
    try:
        place.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise unwritable(place, error) from error
    ports = Ports()
    try:
        for component, keeper in kept:
            async with AsyncExitStack() as lasting:
                ground = Ground(guard.run, policies, artifacts, cache, place, folder / "logs", runtime, ports, lasting)
                if keeper.ages:
                    await _probe(keeper, ground, component, write)
                for records in keeper.sizes(sizes):
                    await _drill(keeper, ground, component, records, write)
            await _clear(place)
    finally:
        ports.close()


async def _probe(keeper: Keeper, ground: Ground, component: ComponentPolicy, write: Callable[[Payload], None]) -> None:
    write(Progress(f"{component.name}: how old may its data become?"))
    try:
        probed = await keeper.retention(ground, component)
    except HarnessError as error:
        write(RetentionProbed(component.name, keeper.kind, error=str(error)))
        return
    write(probed)
    costly = [one for one in probed.aged if one.newest_days > ASKED_DAYS + probed.unit_days and one.answered]
    if costly:
        oldest = max(one.newest_days for one in costly)
        write(
            FindingNoted(
                Finding(
                    "retention/keeps-longer",
                    Severity.INFO,
                    component.unit.span if component.unit else component.span,
                    f"{component.name} keeps more than it is asked for: data of {oldest:.1f} days still answers",
                    details=f"{ASKED_DAYS:g} days and one {probed.unit} are asked for, and what is older costs disk",
                    fix="shorten its retention, or raise the target",
                    subject=Subject("component", component.name),
                )
            )
        )


async def _drill(
    keeper: Keeper, ground: Ground, component: ComponentPolicy, records: int, write: Callable[[Payload], None]
) -> None:
    write(Progress(f"{component.name}: {records:,} records are backed up and restored"))
    try:
        drilled = await keeper.restore(ground, component, records)
    except HarnessError as error:
        drilled = RestoreDrilled(component.name, keeper.kind, error=str(error))
    write(drilled)


async def _clear(place: Path) -> None:
    """Gives the disk back before the next store takes its share."""
    for path in place.iterdir():
        await asyncio.to_thread(shutil.rmtree, path, ignore_errors=True)
