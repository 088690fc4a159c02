"""What faults of the records' way ask of the store of logs and of the emitter, over connections of their own."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import urlencode

import aiohttp

from harness.drive.look import Look, Silence, answers, ask
from harness.drive.records.way import Way
from harness.errors import FaultError, StackError
from harness.model.stack import Address
from harness.stack.search import Reply, Search

HEALTH = "/_cluster/health"
_MISHAP_SECONDS = 9.0
_STORE_SECONDS = 10.0


async def in_store(way: Way, method: str, path: str, body: object = None, *, lines: bytes | None = None) -> Reply:
    """One request to the store itself, past whatever is done to the path to it.

    Raises:
        StackError: there was no answer.
    """
    async with Search(way.behind, within_seconds=_STORE_SECONDS) as search:
        return await search.ask(method, path, body, lines=lines)


async def told(way: Way, path: str, body: object) -> None:
    """Changes a setting of the store itself.

    Raises:
        StackError: it was refused, or there was no answer.
    """
    async with Search(way.behind, within_seconds=_STORE_SECONDS) as search:
        await search.done("PUT", path, body, what="The store of logs did not take a setting")


async def logs_flow(way: Way, since: float) -> Look:
    """Whether the store has taken in a record of a log after an instant, and can find it."""
    body = {"size": 0, "aggs": {"last": {"max": {"field": "event.ingested"}}}}
    try:
        reply = await in_store(way, "POST", f"/{way.pattern}/_search", body)
    except StackError as error:
        return Look(False, error.what)
    if reply.status != 200:
        return Look(False, f"the store answered {reply.reason}")
    last = reply.body.get("aggregations", {}).get("last", {}).get("value")  # none at all where there is no index yet
    if last is None:
        return Look(False, "the store has no record of any log")
    after = last / 1000 - since
    return Look(
        after > 0, f"the store took in its newest record {abs(after):.1f} s {'after' if after > 0 else 'before'}"
    )


async def store_works(address: Address) -> Look:
    """Whether the store answers at an address."""
    return await answers(address, HEALTH)


async def written(way: Way) -> int | str:
    """How many records the emitter has written; a clause where it does not tell."""
    answer = await ask(way.lane.addresses["emitter"], "/health")
    if isinstance(answer, Silence):
        return answer.why
    try:
        return int(json.loads(answer.body)["written"])
    except (ValueError, KeyError, TypeError):
        return f"the emitter answered {answer.status} and nothing that can be read"


async def emitter_works(way: Way) -> Look:
    """Whether the emitter says how much it wrote."""
    count = await written(way)
    return Look(False, count) if isinstance(count, str) else Look(True, f"the emitter has written {count} records")


async def befall(way: Way, mishap: str, **number: float) -> None:
    """Has the emitter suffer a mishap, with its one number; returns when it is over.

    Raises:
        FaultError: it did not.
    """
    address = way.lane.addresses["emitter"]
    url = f"http://{address}/mishap/{mishap}{f'?{urlencode(number)}' if number else ''}"
    what = f"The emitter did not suffer the mishap {mishap}"
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_MISHAP_SECONDS)) as session,
            session.post(url) as answer,
        ):
            text = await answer.text(errors="replace")
            if answer.status != 200:
                raise FaultError(what, expected="200", seen=f"{answer.status}: {text[:200]}")
    except TimeoutError:
        raise FaultError(what, seen="no answer in time", waited_seconds=_MISHAP_SECONDS) from None
    except (aiohttp.ClientError, OSError) as error:
        raise FaultError(what, seen=str(error) or repr(error)) from error


async def silence(address: Address, behind: Address, path: str = HEALTH) -> Look:
    """Whether a connection is taken and hears nothing, while the component itself answers: we are not just slow."""
    before, itself = await asyncio.gather(ask(address, path), answers(behind, path))
    if not isinstance(before, Silence):
        return Look(False, f"GET {path} at {address} answered {before.status}")
    return Look(itself.there and not before.dead, f"{before.why}; {itself.saw}")
