"""record-drills.yaml: read with its places, and refused with a sentence."""

from __future__ import annotations

import pytest

from harness.policy.parse.record_drills import parse

KNOWN = ("store-down", "storm")


def test_what_it_says_is_read() -> None:
    """Counts, shares, profiles; what is not said is None."""
    text = "record_drills:\n- {fault: storm, allowed_lost: 0.5%, why: a queue, nightly: false}\n- fault: store-down\n"
    storm, down = parse(text, "record-drills.yaml", KNOWN).value
    assert (storm.lost, storm.ratio, storm.why, storm.nightly) == (None, 0.005, "a queue", False)
    assert (down.lost, down.ratio, down.why, down.nightly) == (None, None, "", None)
    assert (storm.tolerates, down.tolerates) == ((), ())
    assert str(down.span).startswith("record-drills.yaml:3:")


def test_what_may_be_heard_meanwhile_is_read() -> None:
    """Names of alerts; where nobody knows which there are, whatever is named."""
    text = "record_drills:\n- {fault: storm, tolerates: [LogsNotCollected, Flood]}\n"
    for alerts in (None, {"LogsNotCollected", "Flood"}):
        parsed = parse(text, "record-drills.yaml", KNOWN, alerts)
        assert parsed.findings == ()
        assert parsed.value[0].tolerates == ("LogsNotCollected", "Flood")


@pytest.mark.parametrize(
    ("entries", "ident", "says"),
    [
        ("- fault: stroe-down", "record-drill/unknown-fault", "did you mean 'store-down'?"),
        ("- fault: storm\n- fault: storm", "record-drill/duplicate", "stated twice"),
        ("- {fault: storm, allowed_lost: 3}", "", "why"),
        ("- {fault: storm, allowed_lost: -3, why: because}", "", "-3"),
        ("- {fault: storm, allowed_lost: many, why: because}", "", "many"),
        ("- {fault: storm, allowed: 3}", "", "allowed"),
        (
            "- {fault: storm, tolerates: [LogsNotColected]}",
            "record-drill/unknown-alert",
            "did you mean 'LogsNotCollected'?",
        ),
        ("- {fault: storm, tolerates: LogsNotCollected}", "", "tolerates"),
        ("- {fault: storm, tolerates: []}", "", "tolerates"),
    ],
)
def test_what_is_wrong_is_told_at_its_place(entries: str, ident: str, says: str) -> None:
    """The twins of the test above."""
    findings = parse(f"record_drills:\n{entries}\n", "record-drills.yaml", KNOWN, {"LogsNotCollected"}).findings
    assert findings
    assert ident in findings[0].id
    assert says in f"{findings[0].summary} {findings[0].details} {findings[0].fix}"
    assert findings[0].span.line > 1
