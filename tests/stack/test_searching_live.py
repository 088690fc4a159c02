"""The operator's searches, asked of a real store: what was announced is found, and what is wrong is seen."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from log_stack import record
from search_stack import Searchable, searchable, shipped

from harness.errors import StackError
from harness.model.audit import FaultWindow
from harness.model.policy import Policies
from harness.model.searching import SearchTried
from harness.model.stack import Artifact
from harness.observe.records.archiving import try_archive
from harness.observe.records.planted import plant
from harness.observe.records.searching import try_searches
from harness.observe.records.tail import Filters, TailServer, tail_server
from harness.observe.records.tailing import Heard, try_tail
from harness.stack.search import Search
from harness.stack.search_archive import Archive
from harness.stack.search_setup import owners

pytestmark = pytest.mark.stack

ERRORS, ALERT = "errors-of-the-last-hour", "logs-of-an-alert"


async def tried(
    made: Searchable, policies: Policies | None = None, *, windows: tuple[FaultWindow, ...] = (), until: float = 0.0
) -> dict[str, SearchTried]:
    """Every saved query, by name; nothing is waited for."""
    events = await try_searches(
        made.address,
        policies or made.policies,
        made.manifests,
        run=made.run,
        since=made.began,
        until=until or time.time(),
        windows=windows,
        allowance_seconds=0,
    )
    return {one.query: one for one in events}


def edited(policies: Policies, name: str, **source: object) -> Policies:
    """The policies with something else in one of their queries."""
    assert policies.logs is not None
    assert policies.logs.search is not None
    queries = tuple(
        dataclasses.replace(one, source={**one.source, **source}) if one.name == name else one
        for one in policies.logs.search.queries
    )
    search = dataclasses.replace(policies.logs.search, queries=queries)
    return dataclasses.replace(policies, logs=dataclasses.replace(policies.logs, search=search))


def plain(sequence: int, level: str = "INFO") -> dict[str, Any]:
    """A record without an identity of its own."""
    return record("x", sequence, level, metadata={"sessionId": None, "requestId": f"r{sequence}"})


async def test_searches_find_what_was_announced(tmp_path: Path, artifacts: Mapping[str, Artifact]) -> None:
    """Five queries over two lanes: exact, newest first; then a deleted, a foreign, a moved record and a wrong order."""
    async with searchable(tmp_path, artifacts) as made:
        levels = ["ERROR" if number % 50 == 0 else "INFO" for number in range(2400)]
        first = await made.written("application", "lane-1", map(plain, range(2400), levels))
        await made.written("application", "lane-2", map(plain, range(300)))
        await made.written("nginx-access", "lane-1", [plain(1, "ERROR"), plain(2, "WARN")])
        errors = [name for name, level in zip(first, levels, strict=True) if level == "ERROR"]
        window = FaultWindow("server-killed", "lane-2", made.began, time.time() + 5)

        found = await tried(made)
        assert {one.error for one in found.values()} == {""}
        assert {one.query: (one.missing, one.foreign, one.ordered) for one in found.values()} == dict.fromkeys(
            ("by-request-id", "by-user", ERRORS, "full-text", ALERT), (0, 0, True)
        )
        # 48 of the run, and of the known ones two of the application and three of the error log.
        assert (found[ERRORS].expected, found[ERRORS].found, found[ERRORS].untold) == (53, 54, 1)
        assert (found["by-request-id"].expected, found["by-user"].expected, found["full-text"].expected) == (4, 2, 2)
        assert found["by-request-id"].untold == 0

        of_window = await tried(made, windows=(window,), until=time.time() + 10)
        assert of_window[ALERT].expected == 300
        assert of_window[ALERT].missing == of_window[ALERT].foreign == 0

        await archived(made, tmp_path / "work")
        await tailed(made)

        # Not the newest first.
        oldest = await tried(made, edited(made.policies, ERRORS, sort=[{"@timestamp": "asc"}]))
        assert not oldest[ERRORS].ordered
        assert oldest[ERRORS].missing == 0
        assert oldest["by-user"].ordered

        # One record is gone from the store.
        await made.deleted(errors[7])
        gone = (await tried(made))[ERRORS]
        assert (gone.missing, gone.absent, gone.examples) == (1, 1, {"missing": (errors[7],)})

        # What asks for another level expects other records; a found one is not what was announced.
        wrong = edited(made.policies, ERRORS, query={"term": {"level": "WARN"}})
        warned = (await tried(made, wrong))[ERRORS]
        assert (warned.missing, warned.foreign, warned.untold) == (0, 0, 1)
        await made.stored(
            {first[1]: shipped({**plain(1, "ERROR"), "metadata": {"sequence": first[1]}}, "application", "lane-1")}
        )
        changed = (await tried(made))[ERRORS]
        assert (changed.foreign, changed.examples["foreign"]) == (1, (first[1],))

        # One was found that nobody announced.
        stranger = f"{made.run}/application.lane-9.1/1"
        await made.stored(
            {stranger: shipped({**plain(1, "ERROR"), "metadata": {"sequence": stranger}}, "application", "lane-9")}
        )
        assert set((await tried(made))[ERRORS].examples["foreign"]) == {first[1], stranger}

        # Nothing is written into indices that bear another run's mark: a sentence for every query.
        others = await tried(dataclasses.replace(made, run="another"))
        assert len(others) == 5
        assert all("is not this run's" in one.error for one in others.values())


async def archived(made: Searchable, folder: Path) -> None:
    """An index of 92 days ago is put away, aged out, brought back and searched, and nothing of it stays."""
    folder.mkdir()
    [told] = await try_archive(made.address, made.policies, folder, run=made.run)
    assert told.error == ""
    assert told.records == 606
    assert told.before == told.after
    assert (told.after[ALERT], told.after["by-user"], told.after[ERRORS]) == (606, 2, 204)
    assert (told.missing, told.foreign, told.left) == (0, 0, 0)
    assert told.back_as == f"archived-{told.index}"
    async with Search(made.address, within_seconds=120) as search:
        assert told.index not in await owners(search, "*")
        assert told.back_as not in await owners(search, "*")
        # The twin: without its snapshot nothing comes back, and a foreign index of that day is not touched.
        assert made.policies.logs is not None
        assert made.policies.logs.search is not None
        assert made.policies.logs.search.snapshots is not None
        archive = Archive(search, made.policies.logs.search.snapshots, made.run)
        with pytest.raises(StackError, match="did not bring"):
            await archive.bring_back(told.index)
        with pytest.raises(StackError, match="no such index"):
            await archive.put_away(told.index)
        await search.done("PUT", f"/{told.index}", {"mappings": {"_meta": {"tocsin_run": "x"}}}, what="no index")
        [refused] = await try_archive(made.address, made.policies, folder, run=made.run)
        assert f"an index {told.index} already" in refused.error
        with pytest.raises(StackError, match="is not this run's"):
            await archive.put_away(told.index)
        await archive.remove(told.index)
        assert told.index in await owners(search, "*")
        await search.done("DELETE", f"/{told.index}", what="not deleted")
    assert list(folder.iterdir()) == []


async def tailed(made: Searchable) -> None:
    """Records are delivered as they come, once each; who reads too slowly is told so, and so is a filter of nobody."""
    both = {
        one.filters: one for one in await try_tail(made.address, made.policies, made.manifests, run=made.run, seconds=3)
    }
    assert {name: (one.error, one.missing, one.twice, one.foreign) for name, one in both.items()} == {
        "all": ("", 0, 0, 0),
        "level=ERROR": ("", 0, 0, 0),
    }
    everything, errors = both["all"], both["level=ERROR"]
    # Six of each of three sources, of which two and all six have the level ERROR.
    assert everything.expected == everything.delivered > 0
    assert everything.expected % 18 == 0
    assert errors.expected * 18 == everything.expected * 8
    assert everything.delay_max_seconds is not None
    assert everything.delay_max_seconds > 0

    assert made.policies.logs is not None
    policy = made.policies.logs.search
    assert policy is not None
    server = TailServer(made.address, policy, waiting=3)
    async with tail_server(server) as address, aiohttp.ClientSession() as session:
        async with session.get(f"http://{address}/tail?colour=red") as refused:
            assert refused.status == 400
            assert "knows no filter 'colour'" in (await refused.json())["error"]
        heard = Heard(Filters(source="error"))
        listening = asyncio.create_task(heard.listen(address))
        await heard.opened.wait()
        assert heard.ended == ""
        async with Search(made.address, within_seconds=120) as search:
            await plant(search, policy, made.policies.records, made.manifests, run=made.run, count=50)
        await asyncio.wait_for(listening, 60)
        assert "reads too slowly: 3 records were waiting" in heard.ended
        assert [why for why in server.dropped if "too slowly" in why] == server.dropped != []
