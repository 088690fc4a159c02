"""Does a message say what its reader needs, held against what Alertmanager was handed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.model.notifications import Notification, ReceivedAlert, Status
from harness.model.time import Instant
from harness.observe.content import complaints

ALERT = ReceivedAlert(
    labels={
        "alertname": "HighErrorRatio",
        "environment": "lane-1",
        "instance": "app:5000",
        "severity": "critical",
        "word": "map",
    },
    annotations={
        "summary": "5.4% of requests fail in lane-1",
        "description": "Users see errors:\n  more than 5 % & rising, <5 min",
        "runbook_url": "https://runbooks.example.org/errors?a=1&b=2",
    },
    starts_at=1000.0,
    ends_at=None,
    received=Instant(1001.0, 1.0),
)
SECOND = replace(
    ALERT,
    labels={**ALERT.labels, "instance": "app:5001"},
    annotations={**ALERT.annotations, "summary": "9% of requests fail there"},
)
GOOD = Notification(
    id="email-1",
    channel="email",
    receiver="page",
    arrived=Instant(1002.0, 2.0),
    status=Status.FIRING,
    title="[FIRING:1] HighErrorRatio lane-1",
    text=(
        "severity: critical\n5.4% of requests\nfail in lane-1\n"
        "Users see errors: more than 5 % &amp; rising, &lt;5 min\nthe runbook"
    ),
    marks={"recipients": "oncall@example.org", "links": ALERT.annotations["runbook_url"]},
)


def test_a_whole_message_has_no_complaints() -> None:
    """Line breaks and entities are the channel's own; all that the reader needs is there."""
    assert complaints(GOOD, [ALERT]) == ()


def test_a_resolved_message_is_held_to_the_same() -> None:
    """That it is over says so in its title and still carries everything."""
    resolved = replace(GOOD, title="[RESOLVED] HighErrorRatio lane-1", status=Status.RESOLVED)
    assert complaints(resolved, [replace(ALERT, ends_at=1001.0)]) == ()


def test_styles_in_an_annotation_are_no_difference() -> None:
    """Slack takes `*` and `_` off; an annotation that has them is still found."""
    alert = replace(ALERT, annotations={**ALERT.annotations, "summary": "the _ratio_ of *all* http_requests"})
    message = replace(GOOD, text=GOOD.text + "\nthe ratio of all http_requests")
    assert complaints(message, [alert]) == ()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"title": " "}, "the message has no title"),
        ({"title": "HighErrorRatio lane-1"}, "does not say whether the alert is firing or resolved"),
        ({"title": "[FIRING:1] lane-1"}, "the title does not name HighErrorRatio"),
        ({"title": "[FIRING:1] HighErrorRatioCritical"}, "the title does not name HighErrorRatio"),
        ({"text": GOOD.text.replace("5.4%", "5%")}, "the summary of HighErrorRatio (lane-1, app:5000) is missing"),
        ({"text": GOOD.text.replace("rising", "")}, "the description of HighErrorRatio (lane-1, app:5000) is missing"),
        ({"text": GOOD.text.replace("critical", "x")}, "the severity of HighErrorRatio (lane-1, app:5000) is missing"),
        ({"text": GOOD.text.replace("critical", "criticality")}, "is missing: critical"),
        ({"marks": {"recipients": "a@example.org"}}, "the runbook of HighErrorRatio (lane-1, app:5000) is missing"),
        ({"marks": {**GOOD.marks, "recipients": ""}}, "the message names no recipient"),
        ({"channel": "slack"}, "the message names no channel"),
        ({"channel": "sms"}, "the message names no recipient"),
        ({"marks": {**GOOD.marks, "cut": "Slack shows 8000"}}, "the channel cuts the message off: Slack shows 8000"),
        ({"text": GOOD.text + "\nteam: <no value>"}, "the text carries template residue: `<no value>`"),
        ({"text": GOOD.text + "\n{{ .Labels.team }}"}, "the text carries template residue: `{{`"),
        ({"title": GOOD.title + " <nil>"}, "the title carries template residue: `<nil>`"),
        ({"text": GOOD.text + "\n%!v(MISSING)"}, "the text carries template residue: `%!v(MISSING)`"),
        ({"text": GOOD.text + "\n%!d(string=x)"}, "the text carries template residue: `%!d(string=x)`"),
        ({"text": GOOD.text + "\nmap[alertname:X]"}, "the text carries template residue: `map[alertname:`"),
    ],
)
def test_each_lack_is_told(change: dict[str, object], complaint: str) -> None:
    """One thing missing makes exactly one complaint, which says what."""
    told = complaints(replace(GOOD, **change), [ALERT])  # type: ignore[arg-type]
    assert len(told) == 1, told
    assert complaint in told[0]


def test_every_alert_of_the_group_is_looked_for() -> None:
    """A message that tells of the first alert only is incomplete, and the second is named."""
    told = complaints(GOOD, [ALERT, SECOND])
    assert told == ("the summary of HighErrorRatio (lane-1, app:5001) is missing: '9% of requests fail there'",)
    assert complaints(replace(GOOD, text=GOOD.text + "\n9% of requests fail there"), [ALERT, SECOND]) == ()


def test_a_group_of_several_alerts_names_them_in_its_text() -> None:
    """One line cannot name all of them: the title is free, the text is not."""
    other = replace(ALERT, labels={**ALERT.labels, "alertname": "DatabaseDown"})
    told = complaints(replace(GOOD, title="[FIRING:2] lane-1"), [ALERT, other])
    assert told == (
        "the message does not name DatabaseDown",
        "the message does not name HighErrorRatio",
    )


@pytest.mark.parametrize("own", ["use {{ $labels }} there", "the <no value> case", "a map[string] of %!v(x)", "<nil>"])
def test_what_the_author_wrote_is_no_residue(own: str) -> None:
    """An annotation that speaks of templates is carried as it is, and nobody complains."""
    alert = replace(ALERT, annotations={**ALERT.annotations, "summary": own})
    message = replace(GOOD, text=f"{GOOD.text}\n{own}")
    assert complaints(message, [alert]) == ()
    told = complaints(replace(message, text=message.text + "\n<no value>"), [alert])
    assert told == ("the text carries template residue: `<no value>`",)


def test_an_annotation_that_prometheus_could_not_render_is_told() -> None:
    """Prometheus writes its error into the annotation: it was handed over, and helps nobody."""
    broken = "<error expanding template: undefined variable>"
    alert = replace(ALERT, annotations={**ALERT.annotations, "summary": broken})
    (told,) = complaints(replace(GOOD, text=f"{GOOD.text}\n{broken}"), [alert])
    assert "the summary of HighErrorRatio (lane-1, app:5000) could not be rendered by Prometheus" in told


def test_an_alert_with_nothing_to_tell_is_told() -> None:
    """Without summary, description and severity there is nothing that a message could carry."""
    bare = replace(ALERT, annotations={}, labels={"alertname": "HighErrorRatio"})
    assert complaints(GOOD, [bare]) == (
        "HighErrorRatio has no summary to tell",
        "HighErrorRatio has no description to tell",
        "HighErrorRatio has no severity to tell",
    )


def test_severity_may_be_written_in_capitals() -> None:
    """A template that shouts says the same."""
    assert complaints(replace(GOOD, text=GOOD.text.replace("critical", "CRITICAL")), [ALERT]) == ()
