"""Brings what is wanted into the cache: kinds of source side by side, one process at a time, with progress."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
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
from harness.stack.provision.catalog import GO_TOOLCHAIN, JAVA_TOOLCHAIN, select
from harness.stack.provision.go import GoSource
from harness.stack.provision.lock import exclusive
from harness.stack.provision.maven import MavenSource
from harness.stack.provision.pypi import PypiSource
from harness.stack.provision.source import (
    AptRecipe,
    Deliver,
    Delivery,
    GoRecipe,
    MavenRecipe,
    Package,
    PypiRecipe,
    Say,
    SourceKind,
    listed,
)

__all__ = ["bring", "cached", "fetch", "fetch_what_can"]

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


async def fetch_what_can(
    needed: Sequence[str], wished: Sequence[str], cache: Path, say: Say, *, offline: bool = False
) -> tuple[Mapping[str, Artifact], Mapping[str, str]]:
    """The artifacts of what is needed, or an error; of what is wished, those that can be had, and why the others not.

    What is needed is brought first and by itself, so that no failure of the rest (a full disk too) is in its way. What
    is wished of one kind of source comes together; where that fails, each of it is tried by itself, unless the place
    cannot be reached at all.

    Args:
        needed: names of the catalogue without which nothing can be done.
        wished: names of the catalogue without which less can be proven; what is needed as well counts as needed.
        cache: the cache's folder; made if it is not there.
        say: takes one sentence of progress at a time.
        offline: never reach for a network.

    Returns:
        Name -> artifact of everything that is there, and name -> sentence of why not for every wish that failed.

    Raises:
        HarnessError: as `fetch` does, for what is needed; `CacheError` where the cache cannot be worked in.
    """
    found = dict(await fetch(needed, cache, say, offline=offline))
    cache = cache.expanduser().absolute()
    packages = select([name for name in wished if name not in found])
    there, lacks = _survey(packages, cache)
    why: dict[str, str] = {}
    if lacks and offline:
        why = {lack.name: _why_lacking(lack, "no network may be used") for lack in lacks}
    elif lacks:
        async with exclusive(cache, say):
            there, lacks = _survey(packages, cache)
            if lacks:
                why = dict(await _bring_what_can(packages, lacks, cache, say))
        there, lacks = _survey(packages, cache)
        why = {lack.name: why.get(lack.name) or _why_lacking(lack, "it did not stay there") for lack in lacks}
    return found | there, why


def _why_lacking(lack: Lack, why: str) -> str:
    """Why the cache has no such artifact, as a sentence."""
    return f"{lack.name} is not in the cache{f' ({lack.reason})' if lack.reason else ''}, and {why}"


def _survey(
    packages: Sequence[Package], cache: Path, *, every_byte: bool = False
) -> tuple[dict[str, Artifact], list[Lack]]:
    """What is there and what is not."""
    answers = [look_up(package, cache, every_byte=every_byte) for package in packages]
    found = {answer.name: answer for answer in answers if isinstance(answer, Artifact)}
    return found, [answer for answer in answers if isinstance(answer, Lack)]


async def _bring(packages: Sequence[Package], lacks: Sequence[Lack], cache: Path, say: Say) -> None:
    """Brings what is lacking, or fails with the first failure. The caller holds the lock."""
    async with _at_work(packages, lacks, cache, say) as (kinds, deliver):
        try:
            async with asyncio.TaskGroup() as group:
                for kind, wanted in kinds:
                    workshop = work_folder(cache) / kind.name
                    workshop.mkdir(parents=True)
                    group.create_task(kind.bring(wanted, workshop, say, deliver))
        except BaseExceptionGroup as failures:
            raise _first(failures, cache) from failures


async def _bring_what_can(
    packages: Sequence[Package], lacks: Sequence[Lack], cache: Path, say: Say
) -> Mapping[str, str]:
    """Brings of what is lacking what can be had, and tells of the rest why not. The caller holds the lock."""
    why: dict[str, str] = {}
    delivered: set[str] = set()
    async with _at_work(packages, lacks, cache, say) as (kinds, deliver):

        async def keep(delivery: Delivery) -> None:
            await deliver(delivery)
            delivered.add(delivery.package.name)

        async def attempt(kind: SourceKind, wanted: Sequence[Package], folder: str) -> None:
            failure = await _failure(kind, wanted, work_folder(cache) / folder, say, keep)
            left = [package for package in wanted if package.name not in delivered]
            if failure is None or not left:
                return
            if len(left) > 1 and not isinstance(failure, Offline | CacheError):
                for package in left:
                    await attempt(kind, [package], f"{kind.name}-{package.name}")
                return
            why.update({package.name: _sentence(failure) for package in left})
            say(f"{listed([package.name for package in left])} cannot be had: {_sentence(failure)}")

        try:
            async with asyncio.TaskGroup() as group:
                for kind, wanted in kinds:
                    group.create_task(attempt(kind, wanted, kind.name))
        except BaseExceptionGroup as failures:
            raise _first(failures, cache) from failures
    return why


async def _failure(
    kind: SourceKind, wanted: Sequence[Package], workshop: Path, say: Say, deliver: Deliver
) -> HarnessError | None:
    """What kept a kind of source from bringing packages; None if nothing did."""
    failure: BaseException | None = None
    try:
        workshop.mkdir(parents=True)
        await kind.bring(wanted, workshop, say, deliver)
    except* (HarnessError, OSError) as failures:
        failure = _first(failures, workshop)
    return failure if isinstance(failure, HarnessError) else None


def _sentence(failure: HarnessError) -> str:
    """What went wrong, and what to do, on one line; the last thing that the failed program said in between."""
    said = failure.seen or (failure.output[-1].strip() if failure.output else "")
    return "; ".join(part for part in (failure.what, said, failure.hint) if part)


@asynccontextmanager
async def _at_work(
    packages: Sequence[Package], lacks: Sequence[Lack], cache: Path, say: Say
) -> AsyncIterator[tuple[Sequence[tuple[SourceKind, Sequence[Package]]], Deliver]]:
    """Sweeps before and after; in between, the kinds of source with what each is to bring, and who publishes it."""
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

    say(f"bringing {listed([package.name for package in wanted])} into {cache}")
    try:
        yield _by_kind(wanted, say), deliver
    except OSError as error:
        raise storage_error(error, cache) from error
    finally:
        say("clearing away what was needed on the way")
        await _sweep(cache)


def _by_kind(wanted: Sequence[Package], say: Say) -> Sequence[tuple[SourceKind, Sequence[Package]]]:
    """The kinds of source that are needed, each with its packages. A kind may need another for its tools."""
    apt = AptSource()

    async def go_toolchain(workshop: Path) -> Path:
        return await _unpack(apt, GO_TOOLCHAIN, workshop, say)

    async def java_toolchain(workshop: Path) -> Path:
        return await _unpack(apt, JAVA_TOOLCHAIN, workshop, say)

    kinds: tuple[tuple[SourceKind, type[object]], ...] = (
        (apt, AptRecipe),
        (GoSource(go_toolchain), GoRecipe),
        (MavenSource(java_toolchain), MavenRecipe),
        (PypiSource(), PypiRecipe),
    )
    sorted_out = [(kind, [one for one in wanted if isinstance(one.recipe, recipe)]) for kind, recipe in kinds]
    return [(kind, of_this_kind) for kind, of_this_kind in sorted_out if of_this_kind]


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
