"""The report in a terminal: it ends with the headline, and shows where the trail of what was not heard ends."""

from __future__ import annotations

import pytest
from ledgers import CHANNELS, EPOCH, Play, message, smoke

from harness.model.events import ComponentExited, Event, Starved
from harness.model.hops import Hop
from harness.report.terminal import render
from harness.verdict.judge import judge


def shown(events: tuple[Event, ...], *, colour: bool = False) -> str:
    """The report of a run."""
    return render(judge(events), events, colour=colour)


@pytest.mark.parametrize(
    "events",
    [smoke(), smoke({"ServerDown": Play(deaf=CHANNELS)}), smoke(error="x\ny"), smoke()[:40], ()],
    ids=["healthy", "lost", "error", "cut", "empty"],
)
def test_it_ends_with_the_headline(events: tuple[Event, ...]) -> None:
    """The last line is what one reads first."""
    assert shown(events).splitlines()[-1] == judge(events).headline


def test_a_healthy_run() -> None:
    """Cells, controls, targets, versions, the mix, the differences from production; no timeline."""
    text = shown(smoke())
    for word in (
        "seed 7",
        "attempt 1",
        "alertmanager 0.34.2",
        "rewired: 1 difference from production",
        "mix of injections: ServerDown 2",
        "DatabaseUnreachable critical slack   heard  2/2       2/2      4.0 s (4.0 s)   6.0 s (6.0 s)",
        "lost    2      fail   as meant",
        "retention           excluded",
        "all                  1.00 (6/6) 1.00 (6/6) 3.9 s (3.9 s)      6.0 s (6.0 s)       7.6 s (7.6 s)",
        "noise: 0 false alarms in 0.023 quiet lane-hours, at most 3091 a lane and day (one-sided 95 %)",
    ):
        assert word in text
    assert "next to blame" not in text


def test_quality_is_never_rounded_up_nor_made_of_nothing() -> None:
    """95 of 96 is 0.98; a fault that was never proven has no evidence, and so has a run without quiet time."""
    missed = shown(smoke({"ServerDown-7": Play(reaches=Hop.VISIBLE)}, profile="gate", repeats=32))
    assert "0.98 (95/96)" in missed
    assert "never)" in missed
    unproven = shown(smoke({"ServerDown": Play(mute="no effect")}))
    assert "server-killed        no evidence no evidence -" in unproven
    assert "noise: no evidence" in shown(())
    assert "noise: 1 false alarm in" in shown(
        smoke(extra=[(-2.0, message("ServerDown", "lane-01", "email", EPOCH + 8))])
    )


def test_a_lost_alert_is_shown_hop_by_hop() -> None:
    """Every failed trial with its times since t0, where the trail ends, and who is next to blame."""
    text = shown(smoke({"ServerDown": Play(reaches=Hop.FIRING)}))
    for line in (
        "ServerDown critical email   broken 0/2       0/2      never (never)   never (never)  firing",
        "ServerDown at email, injection ServerDown-1 (server-killed in lane-01): lost",
        "  injected     +0.000 s",
        "  visible      +1.200 s",
        "  (due)        +2.000 s",
        "next to blame: prometheus (sending to Alertmanager)",
    ):
        assert " ".join(line.split()) in " ".join(text.split())
    assert "DatabaseUnreachable at email, injection" not in text


def test_controls_that_failed_as_meant_are_no_trouble() -> None:
    """A control that was lost on purpose is not shown among what went wrong; one that passed is called so."""
    assert "control-lost-1" not in shown(smoke())
    text = shown(smoke({"control-lost-1": Play(deaf=("email",), also_at=("slack",))}))
    assert "not as meant" in text
    assert "injection control-lost-1" in text


def test_what_nobody_should_have_heard_is_shown() -> None:
    """With the channel, the lane and the injection."""
    text = shown(smoke(extra=[(4.0, message("HighErrorRatio", "lane-01", "email", EPOCH + 14))]))
    assert "ServerDown in lane-01, injection ServerDown-1: heard by mistake" in text
    assert "speaks of HighErrorRatio" in text


def test_starvation_and_exits_are_told() -> None:
    """What disturbed the run is in sight even where it is not to blame."""
    events = smoke(
        extra=[
            (1.0, Starved("loop-lag", EPOCH + 11, EPOCH + 12, 0.8, 0.25)),
            (2.0, ComponentExited("redis", "lane-02", 137, expected=False)),
            (2.0, ComponentExited("subject", "lane-01", 137, expected=True)),
        ]
    )
    text = shown(events)
    assert "starved: 10 trials could not be judged" in text
    assert "redis in lane-02 ended by itself with code 137" in text
    assert "subject in lane-01 ended" not in text


def test_colour_only_where_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain by default, whatever the environment says; coloured for a terminal, with the same words."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    plain = shown(smoke())
    assert "\x1b" not in plain
    assert "\x1b[" in shown(smoke(), colour=True)


def test_words_of_a_message_are_not_markup() -> None:
    """Square brackets of a title are text, not a style."""
    strange = message("ServerDown", "lane-01", "email", EPOCH + 8, title="[bold]hello[/bold] :fire:")
    assert "[bold]hello[/bold] :fire:" in shown(smoke(extra=[(-2.0, strange)]))
