"""The operator's searches, tried: what each must find is computed from what was announced, never from the store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from harness.errors import HarnessError, StackError, in_a_line
from harness.model.audit import ALLOWANCE_SECONDS, FaultWindow
from harness.model.logs import SearchPolicy
from harness.model.policy import Policies
from harness.model.searching import SavedQuery, SearchTried
from harness.model.stack import Address
from harness.model.time import rfc3339
from harness.observe.records.announcements import Announcements, instants
from harness.observe.records.matching import Between, Matcher, NotHeldError, OfDocument, instants_of
from harness.observe.records.planted import LANE, Known, plant
from harness.stack.search import Search

PAGE: Final = 1000
POLL_SECONDS: Final = 0.5
LOGS: Final = "logs/"
EXAMPLES: Final = 5
SECONDS: Final = 30.0
"""How long a store may take for an answer."""

_IDENTITY = "metadata.sequence"


@dataclass(frozen=True, slots=True)
class Hit:
    """A document that a search found: who it is, when by its own word, and whether by its content it belongs there."""

    identity: str
    at: Between | None
    fits: bool | None


@dataclass(slots=True)
class _Wanted:
    """What a query must find, by what was announced: each record with the instants between which it was written."""

    must: dict[str, Between] = field(default_factory=dict)
    may: set[str] = field(default_factory=set)


async def try_searches(
    address: Address,
    policies: Policies,
    manifests: Path,
    *,
    run: str,
    since: float,
    until: float,
    windows: Sequence[FaultWindow] = (),
    allowance_seconds: float = ALLOWANCE_SECONDS,
) -> tuple[SearchTried, ...]:
    """Tries every saved query of the policies in a run's store, one event each.

    A few known records are announced and stored first, so that something is known of texts, users and requests, too.

    Args:
        address: where the store listens.
        policies: of the run; without saved queries nothing is tried.
        manifests: the run's manifests.
        run: the run's id.
        since: only records announced from then on must be found, Unix seconds.
        until: only records announced before then must be found.
        windows: the faults of the run: what an operator asks of an alert is asked of one of them.
        allowance_seconds: how long after `until` a record may take until it is found.
    """
    logs = policies.logs
    if logs is None or logs.search is None or not logs.search.queries:
        return ()
    schemas = [one for one in policies.records if one.file.startswith(LOGS)]
    told = Announcements.of(manifests, [one.source for one in schemas], logs)
    try:
        async with Search(address, within_seconds=SECONDS) as search:
            known = await plant(search, logs.search, schemas, manifests, run=run)
            window = await asyncio.to_thread(told.busiest, windows, since=since, until=until, besides=LANE)
            trying = Trying(search, logs.search, told, known, since, until, until + allowance_seconds)
            return tuple([await trying.one(query, parameters(query, known, window)) for query in logs.search.queries])
    except (HarnessError, OSError) as error:
        why = in_a_line(error)
        return tuple(SearchTried(query.name, error=why) for query in logs.search.queries)


def parameters(query: SavedQuery, known: Known, window: FaultWindow | None) -> dict[str, str]:
    """What a query is asked about: known records; a lane, and a time in it, where it asks for these.

    Its own words stand for a time where it does not ask for a lane: the last hour is the last hour.
    """
    values = known.parameters
    if "lane" not in query.params:
        return {name: value for name, value in values.items() if name not in {"since", "until"}}
    if window is not None:
        values |= {"lane": window.lane, "since": rfc3339(window.from_at), "until": rfc3339(window.until_at)}
    return values


@dataclass(frozen=True, slots=True)
class Trying:
    """Saved queries tried in one store.

    Args:
        search: the store.
        policy: its indices and fields.
        told: what was announced.
        known: records whose content is known.
        since: from when on announced records must be found, Unix seconds.
        until: until when they must.
        deadline: until when they may be looked for again.
    """

    search: Search
    policy: SearchPolicy
    told: Announcements
    known: Known
    since: float
    until: float
    deadline: float

    async def one(self, query: SavedQuery, values: Mapping[str, str]) -> SearchTried:
        """Asks a query, again while records are missing that may still come, and holds the answer.

        Raises:
            HarnessError: a manifest cannot be read.
        """
        body = query.body(values)
        try:
            clauses = body["query"]
            matches = Matcher(clauses if isinstance(clauses, Mapping) else {}, self.policy.fields)
            wanted = await asyncio.to_thread(self._wanted, matches)
            while True:
                began = time.perf_counter()
                hits = await self._pages(body, matches)
                seconds = time.perf_counter() - began
                missing = wanted.must.keys() - {hit.identity for hit in hits}
                # Who stands in the store, and is not found, will not be found by waiting.
                held = await self._stand(missing)
                if missing <= held.keys() or time.time() >= self.deadline:
                    break
                await asyncio.sleep(POLL_SECONDS)
            return await self._held(query.name, wanted, hits, held, seconds, matches)
        except (NotHeldError, StackError) as error:
            return SearchTried(query.name, error=in_a_line(error))

    def _wanted(self, matches: Matcher) -> _Wanted:
        """What the query must find, and what it may: of whom nobody has announced what decides it."""
        wanted = _Wanted()
        for one in self.told:
            document = self.known.documents.get(one.identity)
            fits = matches(OfDocument(document) if document is not None else self.told.facts(one))
            if one.is_withdrawal:
                if wanted.must.pop(one.identity, None) is not None:
                    wanted.may.add(one.identity)
            elif document is not None:
                if fits:
                    wanted.must[one.identity] = instants_of(document["@timestamp"])
            elif fits and self.since <= one.at < self.until:
                wanted.must[one.identity] = instants(one)
        return wanted

    async def _pages(self, body: Mapping[str, object], matches: Matcher) -> list[Hit]:
        """Everything that the query finds, in its own order, page by page."""
        order = list(_sort_of(body))
        if not any(_IDENTITY in one for one in order):
            order.append({_IDENTITY: {"order": "desc", "unmapped_type": "keyword"}})
        asked: dict[str, Any] = {**body, "size": PAGE, "sort": order, "_source": True, "track_total_hits": True}
        asked.pop("from", None)
        what = f"The store at {self.search.address} does not answer a search"
        hits: list[Hit] = []
        while True:
            answer = await self.search.done("POST", f"/{self.policy.pattern}/_search", asked, what=what)
            try:
                page = answer["hits"]["hits"]
                failed = answer["_shards"]["failed"]
                hits += [_hit(one["_source"], matches) for one in page]
                after = page[-1]["sort"] if page else None
            except (KeyError, TypeError) as error:
                raise StackError(
                    what, expected="hits, as a store of this family gives them", seen=str(answer)
                ) from error
            if failed:
                raise StackError(what, expected="an answer of every shard", seen=str(answer["_shards"]))
            if len(page) < PAGE:
                return hits
            asked["search_after"] = after

    async def _held(
        self,
        name: str,
        wanted: _Wanted,
        hits: Sequence[Hit],
        held: Mapping[str, Between | None],
        seconds: float,
        matches: Matcher,
    ) -> SearchTried:
        """The answer, held against what was announced; `held` are those of the unfound that the store has."""
        found = {hit.identity for hit in hits}
        missing = {one for one in wanted.must if one not in found}
        others = [hit for hit in hits if hit.identity not in wanted.must]
        may = await asyncio.to_thread(self._may, {hit.identity for hit in others if hit.identity}, matches)
        foreign = [
            hit.identity or "(a line that is no record)"
            for hit in others
            if hit.fits is False or (hit.identity != "" and hit.identity not in may)
        ]
        twice = len(hits) - len({hit.identity for hit in hits if hit.identity}) - sum(not hit.identity for hit in hits)
        missing -= {one for one, at in held.items() if at is not None and not _meet(at, wanted.must[one])}
        absent = {one for one in missing if one not in held}
        return SearchTried(
            query=name,
            expected=len(wanted.must),
            found=len(hits),
            missing=len(missing),
            absent=len(absent),
            foreign=len(foreign) + twice,
            untold=len(others) - len(foreign),
            ordered=newest_first(hits, wanted.must),
            seconds=seconds,
            examples={
                kind: tuple(sorted(names)[:EXAMPLES])
                for kind, names in (("missing", missing), ("foreign", set(foreign)))
                if names
            },
        )

    def _may(self, found: set[str], matches: Matcher) -> set[str]:
        """Those of the found records that were announced, and of which no announcement says that they do not belong."""
        may = set()
        for one in self.told if found else ():
            if one.identity not in found or one.identity in self.known.documents:
                continue
            if one.is_withdrawal or matches(self.told.facts(one, timed=False)) is not False:
                may.add(one.identity)
        return may

    async def _stand(self, missing: Iterable[str]) -> dict[str, Between | None]:
        """Those of the missing that the store holds, and when they were written by their own word."""
        names = sorted(missing)
        held: dict[str, Between | None] = {}
        what = f"The store at {self.search.address} does not give records by their identity"
        for start in range(0, len(names), PAGE):
            body = {
                "size": 2 * PAGE,
                "query": {"terms": {_IDENTITY: names[start : start + PAGE]}},
                "_source": [_IDENTITY, "@timestamp"],
            }
            answer = await self.search.done("POST", f"/{self.policy.pattern}/_search", body, what=what)
            for one in answer["hits"]["hits"]:
                document = OfDocument(one["_source"])
                held |= {str(name): _dated(document) for name in document.values(_IDENTITY)}
        return held


def newest_first(hits: Iterable[Hit], must: Mapping[str, Between]) -> bool:
    """Whether no expected record stands before one that is surely newer, by when they were announced.

    A record whose own timestamp is not of its announcement (a clock that was stepped) is passed over.
    """
    earliest = float("inf")
    for hit in hits:
        known = must.get(hit.identity)
        if known is None or (hit.at is not None and not _meet(hit.at, known)):
            continue
        if known.earliest > earliest:
            return False
        earliest = min(earliest, known.latest)
    return True


def _meet(one: Between, other: Between) -> bool:
    return one.earliest <= other.latest and other.earliest <= one.latest


def _hit(source: Mapping[str, Any], matches: Matcher) -> Hit:
    document = OfDocument(source)
    return Hit(str(next(iter(document.values(_IDENTITY)), "")), _dated(document), matches(document))


def _dated(document: OfDocument) -> Between | None:
    for value in document.values("@timestamp"):
        try:
            return instants_of(value)
        except ValueError:
            return None
    return None


def _sort_of(body: Mapping[str, object]) -> Iterator[dict[str, Any]]:
    sort = body.get("sort")
    for one in sort if isinstance(sort, list) else [sort]:
        if isinstance(one, str):
            yield {one: {"order": "desc" if one == "_score" else "asc"}}
        elif isinstance(one, Mapping):
            yield dict(one)
