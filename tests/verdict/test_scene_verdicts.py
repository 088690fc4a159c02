"""Scenes, judged from ledgers alone: each expectation is met as it stands, and red where its story goes wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest
from ledgers import EPOCH, LABELS, Ledger, message, numbered, only, post, smoke

from harness.model.events import Event, Payload, Starved
from harness.model.notifications import MessageArrived, ReceivedAlert, Status
from harness.model.scenes import Demand, Expectation, SceneDid, SceneEnded, ScenePlan, ScenePlanned, SceneStarted
from harness.model.verdicts import Judgement, SceneVerdict, Verdict
from harness.verdict.disturbances import disturbances
from harness.verdict.judge import judge
from harness.verdict.record import record
from harness.verdict.scenes import judge_scenes, shares

LANE = "lane-09"
CAUSE, SYMPTOM, HIGH = "DatabaseUnreachable", "ServerDown", "HighErrorRatio"
CHANNELS = ("email", "slack")
BEGUN = 200.0
"""When scenes begin, in seconds since the first fault: the drills of the synthetic run are over by then."""


def seconds(number: float) -> timedelta:
    """A duration."""
    return timedelta(seconds=number)


@dataclass
class Tale:
    """A scene as the ledger tells it: marks and messages at seconds since it started; healthy as it is made."""

    expects: tuple[Expectation, ...]
    may: tuple[str, ...]
    marks: dict[str, float]
    heard: list[tuple[float, str, str, Status]]
    ends: float | None = 60.0
    why: str = ""
    starts: bool = True
    other: tuple[tuple[float, Payload], ...] = ()

    @property
    def plan(self) -> ScenePlan:
        """What was planned."""
        return ScenePlan("a-scene", "Something is played.", LANE, self.may, self.expects, seconds(60))

    def extra(self, begun: float = BEGUN) -> Iterable[tuple[float, Payload]]:
        """Its lines, for `smoke(extra=…)`."""
        yield -8.5, ScenePlanned(self.plan)
        if self.starts:
            yield begun, SceneStarted("a-scene", LANE)
        for mark, at in self.marks.items():
            yield begun + at, SceneDid("a-scene", mark, EPOCH + 10 + begun + at, "seen")
        for at, alert, channel, status in self.heard:
            yield begun + at, message(alert, LANE, channel, EPOCH + 10 + begun + at, status)
        if self.ends is not None:
            yield begun + self.ends, SceneEnded("a-scene", self.why)
        yield from ((begun + at, payload) for at, payload in self.other)

    @property
    def events(self) -> tuple[Event, ...]:
        """A healthy run with this scene behind its drills."""
        return smoke(extra=self.extra())

    @property
    def judgement(self) -> Judgement:
        """The run, judged."""
        return judge(self.events)

    @property
    def verdict(self) -> SceneVerdict:
        """The scene, judged."""
        (scene,) = self.judgement.scenes
        return scene


def told(alert: str, at: float, status: Status = Status.FIRING) -> list[tuple[float, str, str, Status]]:
    """A message at every channel."""
    return [(at + 0.01 * number, alert, channel, status) for number, channel in enumerate(CHANNELS)]


def flood() -> Tale:
    """A cause is heard, its symptom is not."""
    heard = Expectation(Demand.HEARD, (CAUSE,), CHANNELS, since="refused", within=seconds(30))
    silent = Expectation(
        Demand.SILENT, (SYMPTOM, HIGH), (), since="refused", until="back", within=seconds(20), given="held-back"
    )
    marks = {"refused": 1.0, "held-back": 12.0, "back": 30.0}
    return Tale((heard, silent), (CAUSE,), marks, told(CAUSE, 7) + told(CAUSE, 36, Status.RESOLVED))


def pair(at: float, *instances: str) -> tuple[tuple[float, Payload], ...]:
    """Alerts of one name that Alertmanager is handed, one for each instance."""
    posts = []
    for instance in instances:
        alert = post(CAUSE, LANE, EPOCH + 10 + BEGUN + at).alert
        labels = {**alert.labels, "instance": instance}
        annotations = {"summary": f"{instance} is down", "description": f"Nobody sees {instance}."}
        handed: ReceivedAlert = replace(alert, labels=labels, annotations=annotations)
        posts.append((at, replace(post(CAUSE, LANE, 0.0), alert=handed)))
    return tuple(posts)


def group_message(channel: str, at: float, *instances: str) -> tuple[float, Payload]:
    """A message that tells of some instances."""
    lines = "\n".join(f"{one} is down\nNobody sees {one}." for one in instances)
    text = f"{lines}\n{LANE} severity: {LABELS[CAUSE]}"
    return at, message(CAUSE, LANE, channel, EPOCH + 10 + BEGUN + at, text=text)


def group() -> Tale:
    """Two alerts of one name are one message at each channel."""
    together = Expectation(Demand.TOGETHER, (CAUSE,), CHANNELS, since="killed", until="waited", within=seconds(7))
    other = pair(5.0, "exporter-a", "exporter-b")
    other += tuple(group_message(channel, 7.0, "exporter-a", "exporter-b") for channel in CHANNELS)
    return Tale((together,), (CAUSE,), {"killed": 1.0, "waited": 16.0}, told(CAUSE, 22, Status.RESOLVED), other=other)


def silence() -> Tale:
    """Nothing is heard while a silence lasts, and everything soon after."""
    silent = Expectation(Demand.SILENT, (CAUSE,), (), since="silenced", until="over", given="held-back")
    heard = Expectation(Demand.HEARD, (CAUSE,), CHANNELS, since="over", within=seconds(30), given="held-back")
    marks = {"silenced": 0.5, "refused": 1.0, "held-back": 6.0, "over": 18.0}
    return Tale((silent, heard), (CAUSE,), marks, told(CAUSE, 21) + told(CAUSE, 30, Status.RESOLVED))


def repetition() -> Tale:
    """A message comes again when that is due."""
    repeated = Expectation(
        Demand.REPEATED, (CAUSE,), CHANNELS, since="posted", until="watched", within=seconds(12), slack=seconds(7)
    )
    return Tale((repeated,), (CAUSE,), {"posted": 1.0, "watched": 24.0}, told(CAUSE, 3) + told(CAUSE, 18))


TALES: dict[str, Callable[[], Tale]] = {
    "flood": flood,
    "group": group,
    "silence": silence,
    "repetition": repetition,
}


@pytest.mark.parametrize("tale", TALES.values(), ids=TALES)
def test_a_story_that_goes_well_passes(tale: Callable[[], Tale]) -> None:
    """The scene passes with sentences that say what was seen, and the run stays green."""
    judgement = tale().judgement
    assert (judgement.verdict, judgement.reasons) == (Verdict.PASS, ())
    (scene,) = judgement.scenes
    assert (scene.id, scene.lane, scene.verdict, scene.seconds) == ("a-scene", LANE, Verdict.PASS, 60.0)
    assert scene.told


def flood_heard(tale: Tale) -> None:
    """A symptom speaks while the cause is there."""
    tale.heard += [(14.0, SYMPTOM, "slack", Status.FIRING)]


def flood_after(tale: Tale) -> None:
    """A symptom speaks 19 s after the cause is over."""
    tale.heard += [(49.0, HIGH, "email", Status.FIRING)]


def cause_unheard(tale: Tale) -> None:
    """One channel never hears of the cause."""
    tale.heard = [one for one in tale.heard if one[2] != "slack"]


def cause_late(tale: Tale) -> None:
    """One channel hears after 30.2 s."""
    tale.heard = [(31.2 if one[0] == 7.0 else one[0], *one[1:]) for one in tale.heard]


def two_messages(tale: Tale) -> None:
    """Each alert has its own message."""
    singles = (group_message("slack", 7.0 + n, one) for n, one in enumerate(("exporter-a", "exporter-b")))
    tale.other = (*(one for one in tale.other if not is_message(one[1], "slack")), *singles)


def one_of_two(tale: Tale) -> None:
    """There is one message, and it tells of one alone."""
    others = (one for one in tale.other if not is_message(one[1], "slack"))
    tale.other = (*others, group_message("slack", 7.0, "exporter-a"))


def no_message(tale: Tale) -> None:
    """A channel hears nothing."""
    tale.other = tuple(one for one in tale.other if not is_message(one[1], "slack"))


def silence_broken(tale: Tale) -> None:
    """Somebody hears in the last moment of the silence."""
    tale.heard += [(17.9, CAUSE, "email", Status.FIRING)]


def never_heard_after(tale: Tale) -> None:
    """Nobody is told when the silence is over."""
    tale.heard = []


def too_early(tale: Tale) -> None:
    """It is told again at the next look already."""
    tale.heard += [(8.0, CAUSE, "email", Status.FIRING)]


def never_again(tale: Tale) -> None:
    """It is never told again."""
    tale.heard = [one for one in tale.heard if one[0] < 10]


def again_late(tale: Tale) -> None:
    """It is told again after 19.5 s."""
    tale.heard = told(CAUSE, 3) + told(CAUSE, 22.5)


def never_at_all(tale: Tale) -> None:
    """It is not told once."""
    tale.heard = []


def is_message(payload: Payload, channel: str) -> bool:
    """Whether this is a message at a channel."""
    return isinstance(payload, MessageArrived) and payload.raw.channel == channel


SABOTAGES = [
    ("flood", flood_heard, "a message at slack to receiver slack-critical (firing) speaks of ServerDown, 13.0 s after"),
    ("flood", flood_after, "speaks of HighErrorRatio, 48.0 s after `refused`"),
    ("flood", cause_unheard, "DatabaseUnreachable at slack was not heard within 30 s of `refused`"),
    ("flood", cause_late, "DatabaseUnreachable at email was heard 30.2 s after `refused`, not within 30"),
    ("group", two_messages, "slack got 2 messages that say DatabaseUnreachable fires, one was to tell all"),
    ("group", one_of_two, "the message at slack does not tell of all: the summary of DatabaseUnreachable"),
    ("group", no_message, "slack got 0 messages that say DatabaseUnreachable fires"),
    ("silence", silence_broken, "speaks of DatabaseUnreachable, 17.4 s after `silenced`"),
    ("silence", never_heard_after, "DatabaseUnreachable at email was not heard within 30 s of `over`"),
    ("repetition", too_early, "DatabaseUnreachable at email was repeated after 5.0 s, due after 12 s"),
    ("repetition", never_again, "DatabaseUnreachable at email was not repeated within 19 s"),
    ("repetition", again_late, "DatabaseUnreachable at email was repeated after 19.5 s, 19 s are allowed"),
    ("repetition", never_at_all, "DatabaseUnreachable at email was not heard at all"),
]


@pytest.mark.parametrize(("tale", "sabotage", "sentence"), SABOTAGES, ids=[one[1].__name__ for one in SABOTAGES])
def test_a_sabotaged_story_is_red(tale: str, sabotage: Callable[[Tale], None], sentence: str) -> None:
    """The twins: the scene fails, its first sentence says why, and the run is red for this reason."""
    spoilt = TALES[tale]()
    sabotage(spoilt)
    judgement = spoilt.judgement
    (scene,) = judgement.scenes
    assert (scene.verdict, judgement.verdict) == (Verdict.FAIL, Verdict.FAIL)
    assert sentence in scene.told[0]
    assert [reason for reason in judgement.reasons if reason.startswith("scene a-scene is fail: ")]


def not_started(tale: Tale) -> None:
    """It was never played."""
    tale.starts, tale.ends, tale.marks, tale.heard = False, None, {}, []


def not_ended(tale: Tale) -> None:
    """The run died while it was played."""
    tale.ends = None


def broken_off(tale: Tale) -> None:
    """It could not go on."""
    tale.why = "the database could not be refused"


def nothing_held_back(tale: Tale) -> None:
    """No symptom was ever there."""
    del tale.marks["held-back"]


def ended_early(tale: Tale) -> None:
    """It ended before the whole time was over in which nobody may speak."""
    tale.ends = 40.0


def not_listened(tale: Tale) -> None:
    """It ended before a message was late."""
    tale.ends, tale.heard = 25.0, []


def starved(tale: Tale) -> None:
    """The harness was starved meanwhile."""
    at = EPOCH + 10 + BEGUN + 5
    tale.other = (*tale.other, (5.0, Starved("loop-lag", at, at + 1, 0.9, 0.2)))


DOUBTS = [
    ("flood", not_started, "it was planned and never played"),
    ("flood", not_ended, "it was planned and not played to its end"),
    ("flood", broken_off, "it was not played to its end: the database could not be refused"),
    ("flood", nothing_held_back, "it never came to `held-back`"),
    ("flood", ended_early, "nobody listened for the whole time in which ServerDown or HighErrorRatio must be silent"),
    ("silence", not_listened, "nobody listened for DatabaseUnreachable at email for the whole 30 s"),
    ("flood", starved, "the harness was starved: loop-lag 0.9, at most 0.2 is allowed"),
]


@pytest.mark.parametrize(("tale", "doubt", "sentence"), DOUBTS, ids=[one[1].__name__ for one in DOUBTS])
def test_what_nobody_can_vouch_for_is_unverified(tale: str, doubt: Callable[[Tale], None], sentence: str) -> None:
    """No evidence is neither green nor the monitoring's fault; the run is not green for it."""
    doubtful = TALES[tale]()
    doubt(doubtful)
    judgement = doubtful.judgement
    (scene,) = judgement.scenes
    assert scene.verdict is Verdict.UNVERIFIED
    assert sentence in scene.told
    assert judgement.verdict is Verdict.UNVERIFIED
    assert any(reason.startswith("scene a-scene is unverified: ") for reason in judgement.reasons)


def test_a_failure_goes_before_a_doubt() -> None:
    """A flood that was heard is red even where the scene was broken off for it."""
    tale = flood()
    flood_heard(tale)
    nothing_held_back(tale)
    broken_off(tale)
    assert tale.verdict.verdict is Verdict.FAIL


def test_a_starved_harness_does_not_fail_a_scene() -> None:
    """What was heard too late may have been late by ourselves."""
    tale = flood()
    cause_late(tale)
    starved(tale)
    assert tale.verdict.verdict is Verdict.UNVERIFIED


def test_two_alerts_must_have_been_there() -> None:
    """One message that tells of a single alert proves no grouping."""
    tale = group()
    tale.other = tuple(one for one in tale.other if one[1] not in [payload for _, payload in pair(5.0, "exporter-b")])
    assert tale.verdict.verdict is Verdict.UNVERIFIED
    assert "Alertmanager was handed 1 alerts DatabaseUnreachable, where two should meet" in tale.verdict.told


def test_messages_of_a_scene_are_no_injections() -> None:
    """What a scene's alerts say in its lane is neither unexplained nor noise; without the scene it is both."""
    tale = flood()
    assert (tale.judgement.reasons, tale.judgement.quality.false_alarms) == ((), ())
    bare = only(tale.events, lambda event: not event.kind.startswith("scene-"))
    judgement = judge(bare)
    assert sum("belongs to no injection" in reason for reason in judgement.reasons) == len(tale.heard)
    assert judgement.quality.false_alarms


def test_what_a_scene_does_not_name_nobody_may_hear() -> None:
    """In its lane and time another alert fails the scene; in another lane it is unexplained as ever."""
    tale = silence()
    tale.heard += [(10.0, HIGH, "slack", Status.FIRING)]
    assert tale.verdict.verdict is Verdict.FAIL
    assert tale.verdict.told[0] == "a message at slack to receiver slack-critical (firing) speaks of HighErrorRatio"
    elsewhere = silence()
    at = EPOCH + 10 + BEGUN + 10
    elsewhere.other = ((10.0, message(CAUSE, "lane-08", "slack", at)),)
    judgement = elsewhere.judgement
    assert [scene.verdict for scene in judgement.scenes] == [Verdict.PASS]
    assert any("belongs to no injection" in reason for reason in judgement.reasons)


def test_prose_is_no_alert_unless_it_fires() -> None:
    """A message may mention another alert's name; it counts where Alertmanager was handed that one as firing."""
    at = EPOCH + 10 + BEGUN + 21.5
    mentioning = message(CAUSE, LANE, "slack", at, text=f"{CAUSE} in {LANE}: see also {HIGH}")
    tale = silence()
    tale.other = ((21.5, mentioning),)
    firing = replace(tale, other=((15.0, post(HIGH, LANE, at - 6.5)), *tale.other))
    assert (tale.verdict.verdict, firing.verdict.verdict) == (Verdict.PASS, Verdict.FAIL)


@pytest.mark.parametrize(("status", "unexplained"), [(Status.RESOLVED, 0), (Status.FIRING, 1)])
def test_after_its_end_only_the_end_of_its_alerts_is_its_own(status: Status, unexplained: int) -> None:
    """A straggler that says resolved belongs to the scene; one that says firing to nobody."""
    tale = flood()
    tale.heard += [(65.0, CAUSE, "slack", status)]
    found = [reason for reason in tale.judgement.reasons if "belongs to no injection" in reason]
    assert len(found) == unexplained


def test_the_end_of_an_earlier_drill_is_no_message_of_a_scene() -> None:
    """A late resolved message about another alert of the lane is left to whom it belongs."""
    tale = silence()
    tale.heard += [(2.0, HIGH, "slack", Status.RESOLVED)]
    told_by = shares(record(tale.events))
    assert told_by.strange == {}
    assert any(one.arrived.wall == EPOCH + 10 + BEGUN + 2 for one in told_by.rest.messages)
    assert tale.verdict.verdict is Verdict.PASS


def test_a_scene_disturbs_the_collection_in_its_lane() -> None:
    """What it takes down is excused from its start to its end, as a fault's is; for ever where it never ended."""
    (window,) = [one for one in disturbances(record(flood().events)) if one.fault == "scene a-scene"]
    assert (window.lane, window.from_at, window.until_at) == (LANE, EPOCH + 10 + BEGUN, EPOCH + 10 + BEGUN + 60)
    tale = flood()
    not_ended(tale)
    (window,) = [one for one in disturbances(record(tale.events)) if one.fault == "scene a-scene"]
    assert window.until_at == float("inf")


def test_a_scene_without_expectations_shows_nothing() -> None:
    """Nothing demanded is nothing proven."""
    tale = replace(flood(), expects=())
    assert tale.verdict.verdict is Verdict.UNVERIFIED


def test_a_run_without_scenes_is_judged_as_ever() -> None:
    """No scene, no verdict, and the very same record."""
    events = smoke()
    told_by = record(events)
    shared = shares(told_by)
    assert shared.rest is told_by
    assert judge_scenes(told_by, shared) == ()
    assert judge(events).scenes == ()


def test_a_ledger_of_lines_alone_can_be_judged() -> None:
    """A scene that began before the first drill did, in a ledger with nothing else, has its verdict all the same."""
    ledger = Ledger()
    for at, payload in flood().extra(begun=20.0):
        ledger.add(EPOCH + 10 + at, payload)
    events = numbered(sorted(ledger.lines, key=lambda line: line[0]))
    assert [scene.verdict for scene in judge(events).scenes] == [Verdict.PASS]
