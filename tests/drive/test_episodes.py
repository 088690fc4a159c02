"""Episodes: what is planned, what is told of a fault that fails, what is judged; each with a twin that goes red."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from lane_doubles import UntouchedLane

from harness.drive.episodes import play_episodes
from harness.drive.faults import LaneControl
from harness.drive.journal import Journal
from harness.drive.look import Look
from harness.drive.plan.episodes import PHASE, plan_episodes
from harness.drive.records import RecordFault, Way, way_of
from harness.drive.records.parts import LATE_SECONDS, LOOK_SECONDS, unread, why_unread
from harness.drive.records.registry import RECORD_FAULTS
from harness.drive.surroundings import Limits, Surroundings
from harness.errors import FaultError, StackError
from harness.model.audit import AuditControl, Fates, RecordsAudited
from harness.model.episodes import EpisodeBegan, EpisodeEnded, EpisodePlan, EpisodePlanned, EpisodeProven, Promise
from harness.model.events import Event, Payload
from harness.model.plan import Profile
from harness.model.policy import RecordDrill
from harness.model.source import Span
from harness.model.stack import SHARED, Address, Lane
from harness.model.time import parse_duration
from harness.model.verdicts import EpisodeVerdict, Verdict
from harness.observe.starvation import LOOP_LAG_SECONDS
from harness.stack.emitter.app import DEFAULT_PER_SECOND, TICK_SECONDS
from harness.verdict.episodes import judge_episodes
from harness.verdict.record import record

POLICIES = Path(__file__).parents[2] / "policies"
KINDS = {"elasticsearch", "filebeat", "emitter", "clickhouse", "event-collector", "influxdb"}
SCHEMAS = {"logs/system.schema.json": "system", "logs/error.schema.json": "error", "events/user.schema.json": "user"}
TRAITS = [fault.traits for fault in RECORD_FAULTS]
SPAN = Span("record-drills.yaml", 1, 1, 1, 1)
PLAN = EpisodePlan("episode-x", "x", "It does.", "real", ("system",), timedelta(0), timedelta(0), Promise())


def plans(profile: Profile, *drills: RecordDrill, seed: int = 1) -> dict[str, EpisodePlan]:
    """The episodes of a profile by their fault."""
    made, _ = plan_episodes(TRAITS, drills, KINDS, SCHEMAS, profile=profile, seed=seed)
    return {one.fault: one for one in made}


class TestPlan:
    """What a profile plays."""

    def test_the_night_plays_all_and_the_gate_what_is_quick(self) -> None:
        """The gate's are at least the three that it must play, and they take no longer than it has."""
        assert set(plans(Profile.NIGHTLY)) == {fault.id for fault in RECORD_FAULTS}
        gate = plans(Profile.GATE)
        assert {"store-down", "shipper-killed", "store-refusing-documents"} < set(gate)
        assert sum((one.hold for one in gate.values()), timedelta(0)) + PHASE * len(gate) < timedelta(seconds=60)

    @given(st.integers(0, 1_000_000))
    def test_the_seed_fixes_order_and_phases(self, seed: int) -> None:
        """The same twice; every fault once, in whatever order; no phase beyond its span."""
        made, left_out = plan_episodes(TRAITS, (), KINDS, SCHEMAS, profile=Profile.GATE, seed=seed)
        assert (made, left_out) == plan_episodes(TRAITS, (), KINDS, SCHEMAS, profile=Profile.GATE, seed=seed)
        assert len({one.fault for one in made}) == len(made)
        assert len(made) + len(left_out) == len(TRAITS)
        assert all(timedelta(0) <= one.phase <= PHASE for one in made)

    def test_another_seed_is_another_order(self) -> None:
        """The twin: it is drawn."""
        assert len({tuple(plans(Profile.NIGHTLY, seed=seed)) for seed in range(5)}) > 1

    def test_who_is_concerned(self) -> None:
        """A mishap of the emitter concerns its records alone, a fault of the store those of every log."""
        night = plans(Profile.NIGHTLY)
        assert night["half-line"].sources == ("system",)
        assert night["store-down"].sources == ("system", "error")
        assert night["clickhouse-down"].sources == ("user",)

    def test_what_is_lacking_is_told(self) -> None:
        """Without a component nothing is tried, and it is said which."""
        made, left_out = plan_episodes(TRAITS, (), {"clickhouse"}, SCHEMAS, profile=Profile.NIGHTLY, seed=1)
        assert made == ()
        assert "filebeat" in left_out["store-down"]
        made, left_out = plan_episodes(TRAITS, (), KINDS, {}, profile=Profile.NIGHTLY, seed=1)
        assert made == ()
        assert "no schema" in left_out["store-down"]

    def test_a_team_states_its_own(self) -> None:
        """Its loss in place of the promise, its profile in place of the fault's."""
        drill = RecordDrill("storm", None, 0.01, "a queue in memory", False, SPAN)
        assert plans(Profile.GATE, drill)["storm"].promise == Promise(ratio=0.01, why="a queue in memory")
        speaks = RecordDrill("storm", None, None, "", None, SPAN, ("LogsNotCollected",))
        assert plans(Profile.NIGHTLY, speaks)["storm"].tolerates == ("LogsNotCollected",)
        assert plans(Profile.NIGHTLY)["storm"].tolerates == ()
        assert "store-down" not in plans(Profile.GATE, RecordDrill("store-down", None, None, "", True, SPAN))
        assert Promise(lost=3).allowed(1000) == 3
        assert Promise(lost=3, ratio=0.01).allowed(1000) == 10


class TestUnread:
    """What an emptied log may cost follows from how often the shipper looks and how fast the log grows."""

    @pytest.mark.parametrize(
        ("per_second", "looks_apart", "most"),
        [(5, 0.25, 7), (5, 10, 56), (100, 0.25, 131), (0, 0.25, 1), (5, 0, 6)],
        ids=["as shipped", "a shipper that looks seldom", "a busy writer", "nobody writes", "a look at every instant"],
    )
    def test_the_most_follows_from_both(self, per_second: float, looks_apart: float, most: int) -> None:
        """More with a longer time between looks, more with a higher rate; the sentence has the same figures."""
        assert unread(per_second, looks_apart) == most
        due = per_second * (looks_apart + LATE_SECONDS + TICK_SECONDS)
        assert f"times {per_second:g} records a second, are {due:g}, and one" in why_unread(per_second, looks_apart)
        assert f"{looks_apart:g} s between two looks" in why_unread(per_second, looks_apart)

    @given(st.floats(0.1, 1000), st.floats(0, 10), st.floats(0, 1))
    def test_no_instant_has_more(self, per_second: float, looks_apart: float, phase: float) -> None:
        """Whenever within its own beat the writer is met: what is due in that span, held back by one tick at most."""
        span = looks_apart + LATE_SECONDS + TICK_SECONDS
        due = int(span * per_second + phase) - int(phase)  # as the emitter counts
        assert due <= unread(per_second, looks_apart)

    def test_the_inputs_are_the_shipped_ones(self) -> None:
        """The shipper's settings for the system log, the unit's rate, and the limit of the house for a late machine."""
        [shipped] = [
            one
            for one in yaml.safe_load((POLICIES / "filebeat.yml").read_text())["filebeat.inputs"]
            if one["fields"]["log"] == "system"
        ]
        looks = [parse_duration(shipped[name]).total_seconds() for name in ("scan_frequency", "max_backoff", "backoff")]
        assert max(looks) == LOOK_SECONDS
        unit = (POLICIES / "units" / "system.service").read_text()
        assert f"Environment=RECORDS_PER_SECOND={DEFAULT_PER_SECOND:g}\n" in unit
        assert LATE_SECONDS == LOOP_LAG_SECONDS

    def test_a_copy_keeps_what_an_emptied_log_does_not(self) -> None:
        """Emptied without a copy it may cost what was not read; copied before, nothing."""
        promises = {one.fault: one.promise for one in TRAITS}
        assert promises["log-truncated"].lost == unread(DEFAULT_PER_SECOND, LOOK_SECONDS)
        assert promises["log-truncated"].why == why_unread(DEFAULT_PER_SECOND, LOOK_SECONDS)
        assert promises["log-copy-truncated"] == Promise()


class Lane1(UntouchedLane):
    """A shared lane in which nothing stands."""

    def __init__(self) -> None:
        super().__init__(Lane(SHARED, {"store": Address("127.0.0.1", 1)}, {}))


class Played(RecordFault):
    """A fault that does nothing and tells what was asked of it; `broken` names the part that fails."""

    id = "x"
    summary = "It does."
    component = "elasticsearch"
    what = "the store"
    done = "made to do"
    effect = "it does"
    health = "it is well"
    well_seconds = 0.0

    def __init__(self, broken: str = "") -> None:
        self.broken = broken
        self.asked: list[str] = []

    async def disturb(self, control: LaneControl) -> None:  # noqa: ARG002 - a double
        """Does nothing, or fails."""
        self.asked.append("disturb")
        if self.broken == "disturb":
            raise StackError("It cannot be done")

    async def mend(self, control: LaneControl) -> None:  # noqa: ARG002 - a double
        """Takes nothing back, or fails."""
        self.asked.append("mend")
        if self.broken == "mend":
            raise StackError("It cannot be mended")

    async def seen(self, control: LaneControl) -> Look:  # noqa: ARG002 - a double
        """Its effect."""
        return Look(self.broken != "seen", "nothing of it")

    async def well(self, control: LaneControl) -> Look:  # noqa: ARG002 - a double
        """Its health."""
        return Look(self.broken != "well", "it is ill")

    async def flows(self, way: Way, since: float) -> Look:  # noqa: ARG002 - a double
        """Whether records flow."""
        return Look(self.broken != ("again" if "mend" in self.asked else "flows"), "nothing comes in")


async def told_of(
    fault: Played, folder: Path, monkeypatch: pytest.MonkeyPatch, *, stopped: bool = False
) -> list[Payload]:
    """What is written of an episode of this fault; nothing is left outstanding but what could not be undone."""
    for name in ("_SETTLE_SECONDS", "_PROVE_SECONDS", "_UNDO_SECONDS", "_RECOVER_SECONDS"):
        monkeypatch.setattr(f"harness.drive.episodes.{name}", 0.05)
    told: list[Payload] = []
    stop = asyncio.Event()
    if stopped:
        stop.set()
    with Journal.open(folder / "undo.jsonl") as journal:
        world = Surroundings(
            faults={},
            lane_control=lambda _: Lane1(),
            ears=None,  # type: ignore[arg-type] # nobody listens here
            write=told.append,
            journal=journal,
            read_hops=None,  # type: ignore[arg-type]
            quiet=None,  # type: ignore[arg-type]
            limits=Limits(apply_seconds=1, stopped_seconds=1),
        )
        way = Way(Lane1(), {"elasticsearch": "store"}, folder, "*")
        await play_episodes([PLAN], lambda: way, world, stop=stop, faults={"x": fault})
        assert len(journal.outstanding()) == (fault.broken in {"mend", "well"})
    return told


class TestPlaying:
    """One after another, and what fails is told."""

    async def test_it_is_applied_proven_and_undone(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """In that order."""
        fault = Played()
        told = await told_of(fault, tmp_path, monkeypatch)
        assert [type(one) for one in told] == [EpisodeBegan, EpisodeProven, EpisodeEnded]
        assert told[-1] == EpisodeEnded(PLAN.id)
        assert fault.asked == ["disturb", "mend"]

    @pytest.mark.parametrize(
        ("broken", "why"),
        [
            ("flows", "did not flow before"),
            ("well", "was not well before"),
            ("disturb", "could not be made to do"),
            ("seen", "nothing is seen of it"),
            ("mend", "it was not undone"),
            ("again", "did not flow again"),
        ],
    )
    async def test_what_fails_is_told_and_not_raised(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str, why: str
    ) -> None:
        """The twins of the test above: each part that fails leaves its reason, and what was begun is undone."""
        fault = Played(broken)
        told = await told_of(fault, tmp_path, monkeypatch)
        ended = told[-1]
        assert isinstance(ended, EpisodeEnded)
        assert why in ended.why
        assert ("mend" in fault.asked) == (broken != "flows")

    async def test_nothing_is_begun_once_the_run_is_over(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is told, and nothing was touched."""
        fault = Played()
        [ended] = await told_of(fault, tmp_path, monkeypatch, stopped=True)
        assert isinstance(ended, EpisodeEnded)
        assert "load ended" in ended.why
        assert fault.asked == []

    async def test_a_way_knows_components_by_their_kind(self) -> None:
        """And says what it does not know; a lane is no way."""
        way = Way(Lane1(), {"elasticsearch": "store"}, None, "*")
        assert way.lane.addresses == {"elasticsearch": Address("127.0.0.1", 1)}
        with pytest.raises(FaultError, match="no way through a component of kind filebeat"):
            await way.hold_down("filebeat")
        with pytest.raises(FaultError, match="Nobody writes a log"):
            assert way.logs
        with pytest.raises(FaultError, match="in a lane"):
            way_of(Lane1())


WHOLE = Fates(written=100, in_time=90, late=10)
EXACT = AuditControl(1, 1, 1)
NOTHING = Promise()
DONE = (EpisodeBegan("episode-x", "x"), EpisodeProven("episode-x", 2.0, "it did"), EpisodeEnded("episode-x"))


def judged(
    fates: Fates | None,
    promise: Promise = NOTHING,
    *,
    done: Sequence[Payload] = DONE,
    control: AuditControl = EXACT,
) -> EpisodeVerdict:
    """The verdict on an episode with such records."""
    audits = (
        [] if fates is None else [RecordsAudited("system", "OpenSearch", fates, by_fault={"x": fates}, control=control)]
    )
    told = [EpisodePlanned(replace(PLAN, promise=promise)), *done, *audits]
    [verdict] = judge_episodes(record(Event(n, n, n, one.kind, one) for n, one in enumerate(told, start=1)))
    return verdict


class TestVerdict:
    """What it cost, held against what it may."""

    def test_nothing_lost_is_a_pass(self) -> None:
        """Late records are told, and no reason to fail."""
        one = judged(WHOLE)
        assert (one.verdict, one.written, one.late) == (Verdict.PASS, 100, 10)

    @pytest.mark.parametrize(
        ("fates", "says"),
        [
            (Fates(written=100, in_time=99, lost=1), "1 lost of 100 records, and 0 may be"),
            (Fates(written=100, in_time=99, corrupt=1), "1 damaged of 100"),
            (Fates(written=100, in_time=99, duplicate=1), "found more than once"),
        ],
    )
    def test_what_is_withheld_damaged_or_doubled_fails(self, fates: Fates, says: str) -> None:
        """The twins: one record is enough, and it is allowed where a promise allows it."""
        assert judged(fates).verdict is Verdict.FAIL
        assert says in judged(fates).told[0]
        assert judged(fates, Promise(lost=1, duplicates=True, why="so it is")).verdict is Verdict.PASS

    def test_more_than_is_allowed_fails(self) -> None:
        """By count and by share."""
        fates = Fates(written=100, in_time=97, lost=3)
        assert judged(fates, Promise(lost=2)).verdict is Verdict.FAIL
        assert judged(fates, Promise(ratio=0.02)).verdict is Verdict.FAIL
        assert judged(fates, Promise(ratio=0.03)).verdict is Verdict.PASS

    @pytest.mark.parametrize(
        ("done", "says"),
        [
            ((), "not played"),
            ((EpisodeEnded("episode-x", "the load ended"),), "the load ended"),
            ((EpisodeBegan("episode-x", "x"),), "never told how it ended"),
            ((EpisodeBegan("episode-x", "x"), EpisodeEnded("episode-x")), "never proven"),
        ],
    )
    def test_what_was_not_proven_is_unverified(self, done: Sequence[Payload], says: str) -> None:
        """However well the records fared."""
        one = judged(WHOLE, done=done)
        assert one.verdict is Verdict.UNVERIFIED
        assert says in one.told[0]

    def test_what_nobody_counted_is_unverified(self) -> None:
        """No audit, no record, a record of unknown fate, a control that was not counted."""
        assert judged(None).verdict is Verdict.UNVERIFIED
        assert judged(Fates()).verdict is Verdict.UNVERIFIED
        assert judged(Fates(written=100, in_time=99, unverified=1)).verdict is Verdict.UNVERIFIED
        assert judged(WHOLE, control=AuditControl(1, 1, 1, "2 were lost")).verdict is Verdict.UNVERIFIED
