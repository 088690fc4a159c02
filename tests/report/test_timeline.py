"""The timeline of a trial."""

from __future__ import annotations

from ledgers import CHANNELS, Play, injection, smoke

from harness.model.hops import Hop
from harness.report.timeline import trail
from harness.verdict.judge import judge


def shown(play: Play) -> list[str]:
    """The timeline of a first trial."""
    judged = next(one for one in judge(smoke({"ServerDown": play})).injections if one.injection == "ServerDown-1")
    return [" ".join(line.split()) for line in trail(judged.trials[0], injection("ServerDown", 1, "lane-01"))]


def test_a_trail_that_ends() -> None:
    """In the order of time, the due instant among the hops; then the hop that is missing and who is to blame."""
    assert shown(Play(deaf=CHANNELS)) == [
        "ServerDown at email, injection ServerDown-1 (server-killed in lane-01): lost",
        "injected +0.000 s",
        "visible +1.200 s",
        "pending +1.900 s",
        "(due) +2.000 s",
        "firing +3.900 s",
        "received +3.905 s",
        "notified not seen; next to blame: alertmanager (route, receiver) or the channel",
        "nothing arrived within 35 s of due",
    ]


def test_an_alert_that_is_never_taken_back() -> None:
    """It was notified: what is missing is the resolved message, not a device's confirmation."""
    lines = shown(Play(never_over=CHANNELS))
    assert "notified +6.000 s" in lines
    assert "resolved not seen; next to blame: the channel" in lines


def test_a_whole_trail_blames_nobody() -> None:
    """Heard and taken back: hops, no blame."""
    lines = shown(Play())
    assert lines[-1].startswith("resolved +")
    assert not [line for line in lines if "blame" in line]


def test_a_trial_without_proof_has_no_hops() -> None:
    """Only why nothing is known."""
    assert shown(Play(mute="the port still answered")) == [
        "ServerDown at email, injection ServerDown-1 (server-killed in lane-01): unverified",
        "the port still answered",
    ]


def test_a_trail_can_be_told_without_the_plan() -> None:
    """Then without lane, fault and due instant."""
    judged = judge(smoke({"ServerDown": Play(reaches=Hop.VISIBLE)})).injections[0]
    lines = trail(judged.trials[0])
    assert lines[0] == "ServerDown at email, injection ServerDown-1: lost"
    assert not [line for line in lines if "due)" in line]
