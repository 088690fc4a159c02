"""The twin of every green run: what is spoilt is red at the right alert, channel and hop; one stack for all."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from sabotage_bench import PROJECT, Tried, spoilt, told, try_all
from sabotage_sink import EVERY, DropsEveryTenth
from sabotages import HEALTHY, MENDED, SABOTAGES, Change, Means, Sabotage

from harness.model.events import Payload
from harness.model.hops import NEXT_PART
from harness.model.notifications import MessageInterfered, RawMessage
from harness.model.stack import Artifact
from harness.model.time import Instant
from harness.model.verdicts import CellStatus, Judgement, Outcome, Verdict
from harness.observe.channels.registry import CHANNELS
from harness.observe.folder import write_whole
from harness.observe.inbox import Inbox
from harness.run import load_policies

TABLE = PROJECT / "runs" / "sabotage.md"
EVERYTHING = (*HEALTHY, *SABOTAGES, MENDED)


def _called(sabotage: Sabotage) -> str:
    return sabotage.name.replace("`", "").replace(",", "").replace(" ", "-")


@pytest.fixture(scope="session")
def tried(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    artifacts: Mapping[str, Artifact],
    cache: Path,
    pytestconfig: pytest.Config,
) -> Mapping[str, Tried]:
    """What came of every sabotage that is asked for, all tried on one stack; a table of it is printed and kept."""
    asked = [
        item.callspec.params["sabotage"]
        for item in request.session.items
        if isinstance(item, pytest.Function) and "tried" in item.fixturenames and hasattr(item, "callspec")
    ]
    wanted = [one for one in EVERYTHING if one in asked]
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        found = try_all(wanted, tmp_path_factory.mktemp("sabotage"), cache, lambda text: print(text, file=sys.stderr))  # noqa: T201
        text = table(wanted, found)
        print(f"\n{text}")  # noqa: T201
    write_whole(TABLE, text)
    return found


@pytest.mark.stack
@pytest.mark.nightly
@pytest.mark.parametrize("sabotage", EVERYTHING, ids=_called)
def test_a_sabotage_is_red_at_the_right_hop(sabotage: Sabotage, tried: Mapping[str, Tried]) -> None:
    """Its alert's cells at its channels are bad and name the hop, all other cells are heard; healthy twins are."""
    assert sabotage.name in tried, "one before it could not be mended"
    one = tried[sabotage.name]
    assert not one.failure
    assert one.judgement is not None
    expected = {
        (sabotage.alert, channel): (sabotage.status.value, hop or "", {sabotage.outcome(channel)})
        for channel, hop in sabotage.ends.items()
    }
    assert bad(one.judgement) == expected, told(one)
    assert {alert.alert for alert in one.judgement.alerts} == {sabotage.alert, *sabotage.beside}
    if sabotage.means is Means.SINK_DROPS:
        (alert,) = one.judgement.alerts
        counted = {cell.channel: (cell.expected, cell.expected - cell.delivered) for cell in alert.cells}
        assert counted == {
            channel: (sabotage.injections, sabotage.injections // EVERY * (channel in sabotage.ends))
            for channel in counted
        }
    if sabotage.ends:
        assert (one.judgement.verdict, one.judgement.exit_code) == (Verdict.FAIL, 1), told(one)
        for channel, hop in sabotage.ends.items():
            begins = f"{sabotage.alert} at {channel} is {sabotage.status}"
            (reason,) = (reason for reason in one.judgement.reasons if reason.startswith(begins))
            assert hop is None or reason.endswith(f"next to blame is {NEXT_PART[hop]}")
    elif sabotage.means is None:
        assert one.judgement.verdict is Verdict.PASS, told(one)
    assert [control.as_expected for control in one.judgement.controls] == [sabotage.controls] * 2


def test_there_are_sabotages_enough_and_each_is_another() -> None:
    """At least 16, of distinct names, that end at five hops and beyond them; each spoils something."""
    assert len(SABOTAGES) >= 16
    assert len({one.name for one in EVERYTHING}) == len(EVERYTHING)
    assert len({(*one.changes, one.means) for one in SABOTAGES}) == len(SABOTAGES)
    assert len({hop for one in SABOTAGES for hop in one.ends.values()}) >= 7
    assert all(one.ends and (one.changes or one.means) for one in SABOTAGES)
    assert {one.status for one in SABOTAGES} == {CellStatus.BROKEN, CellStatus.FLAKY}


def bad(judgement: Judgement) -> dict[tuple[str, str], tuple[str, str, set[Outcome]]]:
    """(alert, channel) of each cell that was not heard -> its status, the hop at which its trail ends, outcomes."""
    found = {}
    for alert in judgement.alerts:
        for cell in alert.cells:
            trials = [
                trial
                for one in judgement.injections
                for trial in one.trials
                if one.control is None and (trial.alert, trial.channel) == (alert.alert, cell.channel)
            ]
            outcomes = {trial.outcome for trial in trials} - {Outcome.HEARD}
            if cell.status != "heard":
                found[alert.alert, cell.channel] = (cell.status.value, cell.trail_ends or "", outcomes)
    return found


@pytest.mark.parametrize("sabotage", SABOTAGES, ids=_called)
def test_each_change_finds_its_place(sabotage: Sabotage, tmp_path: Path) -> None:
    """What is to be spoilt is where it is expected, and what would run or be started is another one afterwards."""
    healthy = load_policies(PROJECT / "policies").policies
    policies, _ = spoilt(healthy, sabotage.changes, tmp_path / "policies")
    units = [(one.name, one.unit.argv) for one in policies.components if one.unit]
    changed = {name for name, text in healthy.documents.items() if policies.documents[name] != text}
    if units != [(one.name, one.unit.argv) for one in healthy.components if one.unit]:
        changed |= {one.file for one in sabotage.changes if one.file.startswith("units/")}
    assert changed == {one.file for one in sabotage.changes}


def test_a_change_that_finds_no_place_is_told(tmp_path: Path) -> None:
    """A sabotage that spoils nothing would be a test of nothing."""
    healthy = load_policies(PROJECT / "policies").policies
    with pytest.raises(AssertionError, match="has 0 x 'nothing of the kind'"):
        spoilt(healthy, (Change("prometheus.yml", "nothing of the kind", ""),), tmp_path / "policies")


def test_a_sink_drops_every_tenth_message_that_an_alert_fires() -> None:
    """Of 20 in three lanes the tenth and the last, only at its channel; what says that it is over is never dropped."""
    written: list[Payload] = []
    inbox = Inbox(written.append, CHANNELS)
    inbox.interfere(DropsEveryTenth.of("ServerDown", ("lane-01", "lane-02", "lane-03"), ["slack"]))
    numbers = itertools.count()

    def deliver(title: str, channel: str = "slack") -> bool:
        body = f'{{"attachments": [{{"title": "{title}"}}]}}' if channel == "slack" else f"Subject: {title}\r\n\r\n"
        inbox.deliver(RawMessage(f"{next(numbers)}", channel, "", Instant.now(), {}, body))
        return isinstance(written[-1], MessageInterfered)

    dropped = []
    for number in range(20):
        lane = f"lane-0{number % 3 + 1}"
        assert not deliver(f"[FIRING:1] ServerDown {lane}", "email")
        assert not deliver(f"[FIRING:1] CacheDown {lane}")
        dropped.append(deliver(f"[FIRING:1] ServerDown {lane}"))
        assert not deliver(f"[RESOLVED] ServerDown {lane}")
    assert [number for number, was in enumerate(dropped, 1) if was] == [10, 20]


def test_the_table_tells_what_could_not_be_tried() -> None:
    """A sabotage that nobody could try has a line that says why, and is not taken for a green one."""
    first, second, *_ = SABOTAGES
    lines = table([first, second], {first.name: Tried(None, failure="It was not loaded\n  seen: 500")}).splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == [f"| {first.name}", f"| {second.name}"]
    assert "It was not loaded" in lines[2]
    assert "not tried" in lines[3]
    assert len({line.count("|") for line in lines}) == 1


def table(sabotages: Sequence[Sabotage], found: Mapping[str, Tried]) -> str:
    """What came of each, in Markdown: one line a sabotage."""
    lines = [
        "| sabotage | drilled | not heard as promised at | the trail ends at | verdict | read before it runs | took |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for sabotage in sabotages:
        one = found.get(sabotage.name)
        if one is None or one.judgement is None:
            lines.append(
                f"| {sabotage.name} | {sabotage.alert} | | | {told(one).splitlines()[0] if one else 'not tried'} | | |"
            )
            continue
        cells = bad(one.judgement)
        where = "; ".join(
            f"{alert}: {', '.join(channel for name, channel in cells if name == alert)}"
            for alert in dict.fromkeys(alert for alert, _ in cells)
        )
        ends = ", ".join(dict.fromkeys(hop or "its end" for _, hop, _ in cells.values()))
        kinds = ", ".join(
            dict.fromkeys(word for status, _, outcomes in cells.values() for word in (status, *sorted(outcomes)))
        )
        drilled = ", ".join((sabotage.alert, *sabotage.beside))
        if not kinds and one.judgement.verdict is not Verdict.PASS:
            kinds = "every cell is heard, and the disturbance itself is told of"
        verdict = f"**{one.judgement.verdict}**" + (f" ({kinds})" if kinds else "")
        read = ", ".join(f"`{name}`" for name in one.read)
        columns = (sabotage.name, drilled, where, ends, verdict, read, f"{one.seconds:.0f} s")
        lines.append(f"| {' | '.join(columns)} |")
    return "\n".join(lines) + "\n"
