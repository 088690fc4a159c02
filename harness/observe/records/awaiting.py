"""Waiting for records that may still come, and for no others: what is overdue when it is missed is lost already."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from harness.errors import StackError
from harness.model.audit import ALLOWANCE_SECONDS
from harness.model.records import announced_from
from harness.observe.records.store import Question, announced_in
from harness.stack.search import Search

POLL_SECONDS: Final = 0.5

_ASKED_AT_ONCE = 1000
_MARGIN_SECONDS = 1.0


async def await_all(
    search: Search,
    asked: Question,
    manifests: Sequence[Path],
    *,
    allowance_seconds: float = ALLOWANCE_SECONDS,
) -> None:
    """Waits until the store has every announced record whose allowance is not over yet.

    Where it has as many as were announced, nobody is asked for by name. Else those are, and again while they are
    missing, that were announced within the allowance: whoever was announced before them is lost, or late, already.

    Args:
        search: the store.
        asked: which records.
        manifests: what was announced.
        allowance_seconds: how long a record may take.

    Raises:
        OSError: a manifest cannot be read.
        StackError: the store still does not answer when all must be there.
    """
    expected, last_at = await asyncio.to_thread(announced_in, manifests)
    deadline = min(last_at, time.time()) + allowance_seconds + _MARGIN_SECONDS
    due: set[str] | None = None
    while True:
        try:
            if due is None and await _counted(search, asked) >= expected:
                return
            if due is None:
                after = time.time() - allowance_seconds - _MARGIN_SECONDS
                due = await asyncio.to_thread(announced_since, manifests, after)
            due -= await _held(search, asked, due)
            if not due:
                return
        except StackError:
            if time.time() >= deadline:
                raise
        if time.time() >= deadline:
            return
        await asyncio.sleep(min(POLL_SECONDS, max(0.0, deadline - time.time())))


def announced_since(manifests: Iterable[Path], since: float) -> set[str]:
    """The identities of the records that were announced from an instant on, Unix seconds, and not taken back.

    Raises:
        OSError: a manifest cannot be read.
    """
    found: set[str] = set()
    for path in manifests:
        with path.open("rb") as lines:
            for one in filter(None, map(announced_from, lines)):
                if one.is_withdrawal:
                    found.discard(one.identity)
                elif one.at >= since:
                    found.add(one.identity)
    return found


async def _counted(search: Search, asked: Question) -> int:
    what = f"The store at {search.address} does not count its records"
    return int((await search.done("POST", f"/{asked.index}/_count", {"query": asked.query()}, what=what))["count"])


async def _held(search: Search, asked: Question, names: Iterable[str]) -> set[str]:
    """Those of some identities that the store has."""
    held: set[str] = set()
    what = f"The store at {search.address} does not give records by their identity"
    ordered = sorted(names)
    for start in range(0, len(ordered), _ASKED_AT_ONCE):
        some = ordered[start : start + _ASKED_AT_ONCE]
        body = {
            "size": 2 * _ASKED_AT_ONCE,
            "query": {"bool": {"should": [{"terms": {field: some}} for field in asked.identities]}},
            "_source": False,
            "docvalue_fields": [*asked.identities],
        }
        answer = await search.done("POST", f"/{asked.index}/_search", body, what=what)
        for hit in answer["hits"]["hits"]:
            held.update(str(value) for values in hit.get("fields", {}).values() for value in values)
    return held
