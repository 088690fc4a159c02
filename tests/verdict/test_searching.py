"""Searches are judged: one that misses fails the run, one of which nobody knows leaves it unverified."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from ledgers import smoke

import harness.report
from harness.model.audit import Fates, RecordsAudited
from harness.model.events import Payload
from harness.model.searching import SearchTried
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
