"""Searches are judged: one that misses fails the run, one of which nobody knows leaves it unverified."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from ledgers import smoke

import harness.report
from harness.model.audit import Fates, RecordsAudited
from harness.model.events import Payload
from harness.model.searching import ArchiveTried, SearchTried, TailTried
from harness.model.verdicts import Verdict
from harness.report.summary import summary
from harness.report.terminal import render
from harness.verdict.judge import judge

SCHEMA = json.loads((Path(harness.report.__file__).parent / "summary.schema.json").read_text(encoding="utf-8"))
GOOD = SearchTried("errors", expected=5, found=6, untold=1, seconds=0.02)
LOST = RecordsAudited("application", "OpenSearch", Fates(100, in_time=99, lost=1))


@pytest.mark.parametrize(
    ("events", "verdict", "told"),
    [
        ((GOOD,), Verdict.PASS, ""),
        (
            (SearchTried("errors", 5, 4, missing=1, examples={"missing": ("run/a/1",)}),),
            Verdict.FAIL,
            "search errors: 1 of 5 records are not found, e.g. run/a/1",
        ),
        ((SearchTried("errors", 5, 4, missing=1, absent=1),), Verdict.FAIL, "1 of 5 records are not found"),
        ((LOST, SearchTried("errors", 5, 4, missing=1, absent=1)), Verdict.PASS, ""),
        ((LOST, SearchTried("errors", 5, 3, missing=2, absent=2)), Verdict.FAIL, "1 of 5 records are not found"),
        ((LOST, SearchTried("errors", 5, 4, missing=1)), Verdict.FAIL, "1 of 5 records are not found"),
        ((SearchTried("errors", 5, 7, foreign=2),), Verdict.FAIL, "2 records are found that do not belong there"),
        ((SearchTried("errors", 5, 5, ordered=False),), Verdict.FAIL, "the newest records do not come first"),
        ((SearchTried("errors", error="no answer\n  seen: x"),), Verdict.UNVERIFIED, "could not be tried: no answer"),
        ((SearchTried("errors"),), Verdict.UNVERIFIED, "had nothing to find"),
    ],
)
def test_a_search_is_judged(events: tuple[Payload, ...], verdict: Verdict, told: str) -> None:
    """With what is wrong in the headline, in the table and in summary.json."""
    run = smoke(extra=[(-1.0, one) for one in events])
    judgement = judge(run)
    assert judgement.verdict is verdict
    assert told in judgement.headline
    shown = summary(judgement, run)
    jsonschema.validate(shown, SCHEMA, cls=jsonschema.Draft202012Validator)
    searches = shown["searches"]
    assert isinstance(searches, list)
    [search] = searches
    assert isinstance(search, dict)
    assert (search["query"], search["verdict"]) == ("errors", verdict.value)
    assert f"errors {verdict.value}" in render(judgement, run)


def test_without_searches_there_is_no_table() -> None:
    """Nothing was tried, nothing is said."""
    run = smoke()
    assert summary(judge(run), run)["searches"] == []
    assert "newest first" not in render(judge(run), run)


KEPT = ArchiveTried("i", "archived-i", 9, {"a": 4, "b": 0}, {"a": 4, "b": 0})
HEARD = TailTried("all", expected=5, delivered=7, delay_p50_seconds=0.5, delay_max_seconds=1.0)


@pytest.mark.parametrize(
    ("event", "verdict", "told"),
    [
        (KEPT, Verdict.PASS, ""),
        (replace(KEPT, after={"a": 3, "b": 0}), Verdict.FAIL, "a found 4 records before, and 3 when they were back"),
        (replace(KEPT, missing=1), Verdict.FAIL, "1 records are not found when they are back"),
        (replace(KEPT, foreign=1), Verdict.FAIL, "1 records came back that do not belong there"),
        (replace(KEPT, left=9), Verdict.FAIL, "9 records of i are still there after it has aged out"),
        (ArchiveTried(error="no room\n  seen: x"), Verdict.UNVERIFIED, "the archive could not be tried: no room"),
        (replace(KEPT, before={"a": 0}, after={"a": 0}), Verdict.UNVERIFIED, "the archive had nothing to keep"),
        (HEARD, Verdict.PASS, ""),
        (replace(HEARD, missing=2), Verdict.FAIL, "live tail (all): 2 of 5 records were not delivered"),
        (replace(HEARD, twice=1), Verdict.FAIL, "1 records were delivered more than once"),
        (replace(HEARD, foreign=1), Verdict.FAIL, "1 records were delivered that were not asked for"),
        (TailTried("all", error="too slow"), Verdict.UNVERIFIED, "live tail (all) could not be tried: too slow"),
        (TailTried("all"), Verdict.UNVERIFIED, "had nothing to deliver"),
    ],
)
def test_archive_and_tail_are_judged(event: Payload, verdict: Verdict, told: str) -> None:
    """With what is wrong in the headline, in the report and in summary.json."""
    run = smoke(extra=[(-1.0, event)])
    judgement = judge(run)
    assert judgement.verdict is verdict
    assert told in judgement.headline
    shown = summary(judgement, run)
    jsonschema.validate(shown, SCHEMA, cls=jsonschema.Draft202012Validator)
    assert [bool(shown["archives"]), bool(shown["tails"])] == [
        isinstance(event, ArchiveTried),
        isinstance(event, TailTried),
    ]
    assert ("- archive  " in render(judgement, run)) is isinstance(event, ArchiveTried)
    assert ("- tail  " in render(judgement, run)) is isinstance(event, TailTried)
