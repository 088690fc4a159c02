"""Brings what is wanted into the cache: kinds of source side by side, one process at a time, with progress."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.errors import CacheError, HarnessError, Offline
from harness.model.stack import Artifact
from harness.stack.provision.apt import AptSource
from harness.stack.provision.cache import (
    Lack,
    cached,
    describe,
    look_up,
    publish,
    remove_tree,
    storage_error,
    work_folder,
)
from harness.stack.provision.catalog import GO_TOOLCHAIN, select
from harness.stack.provision.go import GoSource
from harness.stack.provision.lock import exclusive
from harness.stack.provision.source import AptRecipe, Delivery, GoRecipe, Package, Say, SourceKind, listed

__all__ = ["bring", "cached", "fetch"]

_SWEEP_SECONDS = 5.0


async def fetch(
    names: Sequence[str], cache: Path, say: Say, *, offline: bool = False, every_byte: bool = False
) -> Mapping[str, Artifact]:
    """The artifacts of these names, brought where the cache does not hold them already.

    A complete cache is answered from without a lock and without a network. Otherwise the lock is taken, what an
    earlier start left half made is swept, and all kinds of source work side by side; each artifact is published by
    itself as soon as it is complete, so that what was brought before a failure is not brought again.

    Args:
        names: names of the catalogue.
        cache: the cache's folder; made if it is not there.
        say: takes one sentence of progress at a time.
        offline: never reach for a network.
        every_byte: trust no size and no time of what is cached; read it all, and bring again what changed.

    Raises:
        UsageError: a name that the catalogue does not have.
        Offline: a registry cannot be reached, or `offline` was asked for, and something is missing.
        DiskFull: no room is left.
        CacheError: the cache cannot be written, or is locked by another process for too long.
        BuildError: a module did not build.
        ProvisionError: anything else that kept a component from being brought.
    """
    cache = cache.expanduser().absolute()
    packages = select(names)
    found, lacks = _survey(packages, cache, every_byte=every_byte)
    if not lacks:
        return found
    if offline:
        raise Offline(
            f"the cache {cache} does not hold {listed([lack.name for lack in lacks])}, and no network may be used",
            seen="; ".join(f"{lack.name}: {lack.reason}" for lack in lacks if lack.reason) or None,
            hint="run `tocsin stack fetch` once while connected",
        )
    async with exclusive(cache, say):
        # Whoever held the lock before us may have brought it.
        found, lacks = _survey(packages, cache, every_byte=every_byte)
        if lacks:
            await _bring(packages, lacks, cache, say)
            found, lacks = _survey(packages, cache)
    if lacks:
        raise CacheError(
            f"{lacks[0].name} was put into the cache {cache} and is not there",
            expected="that a folder which was just renamed can be read",
            seen=lacks[0].reason,
        )
    return found


def bring(names: Sequence[str], cache: Path, say: Say, *, offline: bool = False) -> Mapping[str, Artifact]:
    """`fetch` for a caller outside of any event loop. Call it from the main thread, where Ctrl-C arrives.

    Raises:
        HarnessError: as `fetch` does.
    """
    return asyncio.run(fetch(names, cache, say, offline=offline))


def _survey(
    packages: Sequence[Package], cache: Path, *, every_byte: bool = False
) -> tuple[dict[str, Artifact], list[Lack]]:
    """What is there and what is not."""
    answers = [look_up(package, cache, every_byte=every_byte) for package in packages]
    found = {answer.name: answer for answer in answers if isinstance(answer, Artifact)}
    return found, [answer for answer in answers if isinstance(answer, Lack)]


async def _bring(packages: Sequence[Package], lacks: Sequence[Lack], cache: Path, say: Say) -> None:
    """Brings what is lacking. The caller holds the lock."""
    for lack in lacks:
        if lack.reason is not None:
            say(f"{lack.name} is brought again: {lack.reason}")
    lacking = {lack.name for lack in lacks}
    wanted = [package for package in packages if package.name in lacking]
    await _sweep(cache)
    started = time.monotonic()

    async def deliver(delivery: Delivery) -> None:
        # Reading it all takes a second and may be abandoned half-way; the rename takes none and may not.
        publish(delivery, await asyncio.to_thread(describe, delivery), cache)
        say(
            f"{delivery.package.name} {delivery.version} is ready, from {delivery.source}, "
            f"after {time.monotonic() - started:.0f} s"
        )

    apt = AptSource()

    async def go_toolchain(workshop: Path) -> Path:
        return await _unpack(apt, GO_TOOLCHAIN, workshop, say)

    kinds: tuple[tuple[SourceKind, type[AptRecipe] | type[GoRecipe]], ...] = (
        (apt, AptRecipe),
        (GoSource(go_toolchain), GoRecipe),
    )
    say(f"bringing {listed([package.name for package in wanted])} into {cache}")
    try:
        async with asyncio.TaskGroup() as group:
            for kind, recipe in kinds:
                of_this_kind = [package for package in wanted if isinstance(package.recipe, recipe)]
                if of_this_kind:
                    workshop = work_folder(cache) / kind.name
                    workshop.mkdir(parents=True)
                    group.create_task(kind.bring(of_this_kind, workshop, say, deliver))
    except BaseExceptionGroup as failures:
        raise _first(failures, cache) from failures
    except OSError as error:
        raise storage_error(error, cache) from error
    finally:
        say("clearing away what was needed on the way")
        await _sweep(cache)


async def _sweep(cache: Path) -> None:
    """Removes what is half made, by us or by somebody who was killed. The caller holds the lock.

    The children of one who was just killed die a moment later and may still write, so it is tried for a while.
    """
    deadline = time.monotonic() + _SWEEP_SECONDS
    while work_folder(cache).exists():
        try:
            remove_tree(work_folder(cache))
        except OSError as error:
            if time.monotonic() > deadline:
                raise CacheError(
                    f"what is half made in {work_folder(cache)} cannot be removed",
                    seen=str(error),
                    waited_seconds=_SWEEP_SECONDS,
                    hint="remove that folder by hand",
                ) from error
            await asyncio.sleep(0.05)


async def _unpack(apt: AptSource, package: Package, workshop: Path, say: Say) -> Path:
    """A tool that is needed once: unpacked, not published. Its root."""
    roots: list[Path] = []

    async def keep(delivery: Delivery) -> None:
        roots.append(delivery.root)

    await apt.bring([package], workshop, say, keep)
    return roots[0]


def _first(failures: BaseExceptionGroup[BaseException], cache: Path) -> BaseException:
    """The one failure to report: ours first, in the order in which they happened; a refusal to write as what it is."""
    leaves: list[BaseException] = []
    pending: list[BaseException] = [failures]
    while pending:
        failure = pending.pop(0)
        if isinstance(failure, BaseExceptionGroup):
            pending.extend(failure.exceptions)
        else:
            leaves.append(failure)
    for leaf in leaves:
        if isinstance(leaf, HarnessError):
            return leaf
    for leaf in leaves:
        if isinstance(leaf, OSError):
            return storage_error(leaf, cache)
    return leaves[0]
