"""Whose message is this, and does it say firing or resolved."""

from __future__ import annotations

import pytest

from harness.model.notifications import Notification, Status
from harness.model.time import Instant
from harness.observe.attribution import has_word, says, speaks_of, status_of


def message(title: str = "", text: str = "", **marks: str) -> Notification:
    """A message that says this."""
    return Notification("m-1", "slack", "page", Instant(0, 0), Status.FIRING, title, text, marks)


@pytest.mark.parametrize(
    ("title", "text", "marks"),
    [
        ("[FIRING:1] HighErrorRatio lane-1 (critical)", "", {}),
        ("[FIRING:1] HighErrorRatio", "environment = lane-1", {}),
        ("something", "HighErrorRatio: lane-1.", {}),
        ("HighErrorRatio", "", {"channel": "#lane-1"}),
        ("[FIRING:2]", '{alertname="HighErrorRatio",environment="lane-1"}', {}),
        ("HighErrorRatio/lane-1", "", {}),
    ],
)
def test_a_message_speaks_of_what_it_names(title: str, text: str, marks: dict[str, str]) -> None:
    """The alert and its lane may each stand anywhere that a person looks at."""
    assert speaks_of(message(title, text, **marks), "HighErrorRatio", "lane-1")


@pytest.mark.parametrize(
    ("title", "text", "marks"),
    [
        ("[FIRING:1] HighErrorRatio lane-10", "", {}),
        ("[FIRING:1] HighErrorRatio lane-1-b", "", {}),
        ("[FIRING:1] HighErrorRatio the_lane-1", "", {}),
        ("[FIRING:1] HighErrorRatioCritical lane-1", "", {}),
        ("[FIRING:1] VeryHighErrorRatio lane-1", "", {}),
        ("[FIRING:1] HighErrorRatio", "", {}),
        ("lane-1", "", {}),
        ("higherrorratio lane-1", "", {}),
        ("HighErrorRatio", "", {"links": "https://example.org/?environment=lane-1"}),
        ("HighErrorRatio", "", {"fallback": "lane-1"}),
    ],
)
def test_a_part_of_a_word_is_not_the_word(title: str, text: str, marks: dict[str, str]) -> None:
    """lane-1 is not lane-10, HighErrorRatio is not HighErrorRatioCritical, and a link's target is not read."""
    assert not speaks_of(message(title, text, **marks), "HighErrorRatio", "lane-1")


def test_an_empty_name_stands_nowhere() -> None:
    """An alert without a name is in no message, rather than in every one."""
    assert not has_word("anything at all", "")


@pytest.mark.parametrize(
    ("title", "text", "colour", "status"),
    [
        ("[FIRING:1] X", "", "", Status.FIRING),
        ("[RESOLVED] X", "", "", Status.RESOLVED),
        ("Resolved: X", "", "", Status.RESOLVED),
        ("[FIRING:1, RESOLVED:2] X", "", "", Status.MIXED),
        # The title is the first witness, whatever the others say.
        ("[RESOLVED] X", "FIRING", "danger", Status.RESOLVED),
        ("[FIRING:1] X", "Alerts Resolved:", "good", Status.FIRING),
        # The colour is the second.
        ("X", "", "danger", Status.FIRING),
        ("X", "", "warning", Status.FIRING),
        ("X", "FIRING", "good", Status.RESOLVED),
        ("X", "", "#439FE0", Status.UNKNOWN),
        # The text is the last, and prose is no statement.
        ("X", "this is FIRING now", "", Status.FIRING),
        ("X", "Alerts Firing:\nLabels:", "", Status.FIRING),
        ("X", "[1] Resolved\nLabels", "", Status.RESOLVED),
        ("X", "Status: firing", "", Status.FIRING),
        ("X", "Alerts Firing:\n...\nAlerts Resolved:\n", "", Status.MIXED),
        ("X", "was resolved by hand while we were firing people", "", Status.UNKNOWN),
        ("FiringSquadAlert UnresolvedThings", "", "", Status.UNKNOWN),
        ("", "", "", Status.UNKNOWN),
    ],
)
def test_the_first_witness_that_speaks_decides(title: str, text: str, colour: str, status: Status) -> None:
    """Title, then colour, then text; both words make a mixed message, none an unknown one."""
    assert status_of(title, text, colour) is status


@pytest.mark.parametrize(
    ("status", "wanted", "counts"),
    [
        (Status.FIRING, Status.FIRING, True),
        (Status.FIRING, Status.RESOLVED, False),
        (Status.MIXED, Status.FIRING, True),
        (Status.MIXED, Status.RESOLVED, True),
        (Status.UNKNOWN, Status.FIRING, False),
        (Status.MIXED, Status.UNKNOWN, False),
    ],
)
def test_a_mixed_message_counts_for_both(status: Status, wanted: Status, *, counts: bool) -> None:
    """A message that says both is heard by whoever waits for either; an unknown one by nobody."""
    assert says(status, wanted) is counts
