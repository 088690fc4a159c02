"""The operator's searches, asked of a real store: what was announced is found, and what is wrong is seen."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from log_stack import record
from search_stack import Searchable, searchable, shipped

from harness.model.audit import FaultWindow
from harness.model.policy import Policies
from harness.model.searching import SearchTried
from harness.model.stack import Artifact
from harness.observe.records.searching import try_searches

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

        # Not the newest first.
        oldest = await tried(made, edited(made.policies, ERRORS, sort=[{"@timestamp": "asc"}]))
        assert not oldest[ERRORS].ordered
        assert oldest[ERRORS].missing == 0
        assert oldest["by-user"].ordered

        # One record is gone from the store.
        await made.deleted(errors[7])
        gone = (await tried(made))[ERRORS]
        assert (gone.missing, gone.absent, gone.examples) == (1, 1, {"missing": (errors[7],)})

        # What asks for nothing that was announced expects nothing; a found one is not what was announced.
        wrong = edited(made.policies, ERRORS, query={"term": {"level": "WARN"}})
        assert (await tried(made, wrong))[ERRORS].expected == 0
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
