"""Push: Alertmanager's webhook as the back end of the mobile application takes it, and as a phone shows it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from open_sinks import WEBHOOK, opened

from harness.model.hops import Hop
from harness.model.notifications import Notification, RawMessage, ReceivedAlert, Status
from harness.model.time import Instant
from harness.observe.attribution import speaks_of
from harness.observe.certificates import write_certificate
from harness.observe.channels import Certificate
from harness.observe.channels.push import PushChannel
from harness.observe.content import complaints

GOLDEN = Path(__file__).parent / "golden"
FIRING = json.loads((GOLDEN / "alertmanager-0.34.2-webhook-firing.json").read_text())


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """One certificate for all tests of this file."""
    return write_certificate(tmp_path_factory.mktemp("certificates"))


def shown(payload: object) -> Notification:
    """The message as a person would read it."""
    body = payload if isinstance(payload, str) else json.dumps(payload)
    return PushChannel().read(RawMessage("push-1", "push", "page", Instant(1, 1), {}, body))


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (b"{not json", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        ([], "no webhook of version 4"),
        ({**WEBHOOK, "version": "3"}, "no webhook of version 4"),
        ({**WEBHOOK, "alerts": []}, "names no alert"),
        ({**WEBHOOK, "alerts": ["text"]}, "names no alert"),
        ({**WEBHOOK, "status": ""}, "neither firing nor resolved"),
    ],
    ids=str,
)
async def test_what_is_no_webhook_is_refused(certificate: Certificate, payload: object, why: str) -> None:
    """With 400 and a reason; it is no message, and it is told."""
    async with opened(PushChannel(), certificate) as door:
        answer = await door.send(payload if isinstance(payload, bytes) else json.dumps(payload).encode())
        assert answer.status == 400
        assert why in answer.text
        assert door.post.messages == []
        assert why in door.post.refusals[0]


async def test_the_binding_redirects_and_repairs_nothing(certificate: Certificate) -> None:
    """The address is replaced, the file that may hold one is removed; how many alerts are sent stays the policy's."""
    async with opened(PushChannel(), certificate) as door:
        binding = door.sink.binding
        assert set(binding.settings) == {"url"} == set(binding.secret)
        assert set(binding.dropped) == {"url_file", "http_config"}


@pytest.mark.parametrize(("status", "word"), [(Status.FIRING, "[FIRING:1]"), (Status.RESOLVED, "[RESOLVED]")])
def test_a_webhook_as_alertmanager_sends_it_is_understood(status: Status, word: str) -> None:
    """As Alertmanager 0.34.2 sent it: everything that a reader needs is in front of them."""
    sent = json.loads((GOLDEN / f"alertmanager-0.34.2-webhook-{status.value}.json").read_text())
    notification = shown(sent)
    assert notification.title == f"{word} HighErrorRatio lane-1 (critical)"
    assert notification.status is status
    assert notification.text == (
        f"{status.value.upper()}: 5.4% of requests fail in lane-1 — über dem Ziel\n"
        'more than 5 % & "rising", <5 min\n'
        "Alert: HighErrorRatio | Environment: lane-1 | Severity: critical"
    )
    assert speaks_of(notification, "HighErrorRatio", "lane-1")
    alert = sent["alerts"][0]
    handed = ReceivedAlert(alert["labels"], alert["annotations"], 1.0, None, Instant(1, 1))
    assert complaints(notification, [handed]) == ()


def test_nothing_is_added_that_was_not_sent() -> None:
    """The twin: a summary, a severity or a lane that is not in the payload is not in the message."""
    bare = {
        "version": "4",
        "status": "firing",
        "commonLabels": {"alertname": "ServerDown"},
        "alerts": [{"status": "firing", "labels": {"alertname": "ServerDown"}}],
    }
    notification = shown(bare)
    assert notification.title == "[FIRING:1] ServerDown"
    assert notification.text == "FIRING\nAlert: ServerDown"
    assert not speaks_of(notification, "ServerDown", "lane-1")
    handed = ReceivedAlert(
        {"alertname": "ServerDown", "severity": "critical"},
        {"summary": "s", "description": "d"},
        1.0,
        None,
        Instant(1, 1),
    )
    assert [sentence.split(":")[0] for sentence in complaints(notification, [handed])] == [
        "the summary of ServerDown is missing",
        "the description of ServerDown is missing",
        "the severity of ServerDown is missing",
    ]


def test_every_alert_of_a_group_is_told() -> None:
    """The title says what they have in common and how many fire, the text tells each."""
    over = {"status": "resolved", "labels": {"alertname": "B", "severity": "high"}, "annotations": {"summary": "b"}}
    on = {"status": "firing", "labels": {"alertname": "A", "severity": "critical"}, "annotations": {"summary": "a"}}
    notification = shown(
        {**WEBHOOK, "commonLabels": {"environment": "lane-1"}, "alerts": [on, {**on, "labels": {}}, over]}
    )
    assert notification.title == "[FIRING:2] lane-1"
    assert notification.text == (
        "FIRING: a\nAlert: A | Severity: critical\nFIRING: a\nRESOLVED: b\nAlert: B | Severity: high"
    )


def test_alerts_that_were_left_out_are_complained_of() -> None:
    """`max_alerts` hides alerts from a reader; the twin: where none is left out nothing is said."""
    assert shown({**FIRING, "truncatedAlerts": 2}).marks["cut"] == "2 alerts are left out (`max_alerts`)"
    assert "cut" not in shown(FIRING).marks


def test_runbooks_are_links() -> None:
    """A person presses them and does not read them."""
    links = shown(FIRING).marks["links"].split("\n")
    assert links == [
        "https://runbooks.example.org/errors?a=1&b=2",
        "http://prometheus/graph",
        "http://alertmanager:9093",
    ]


@given(
    st.one_of(
        st.text(),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(),
            lambda inner: (
                st.lists(inner)
                | st.dictionaries(
                    st.sampled_from(["status", "alerts", "labels", "annotations", "commonLabels", "truncatedAlerts"]),
                    inner,
                )
            ),
        ).map(json.dumps),
    )
)
def test_reading_never_raises(body: str) -> None:
    """Whatever comes in, somebody can look at it."""
    shown(body)


def test_a_message_has_reached_its_person_at_notified() -> None:
    """The back end is the last station that is seen, until a device says that it showed the message."""
    assert PushChannel().terminal_hop is Hop.NOTIFIED
