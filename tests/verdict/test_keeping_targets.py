"""retention and restore-time: what is green, and every way in which it is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from ledgers import smoke

from harness.model.events import Payload, TargetDeclared
from harness.model.keeping import AgedData, RestoreDrilled, RetentionProbed, StoresDeclared, StoreToKeep
from harness.model.policy import Basis, Target
from harness.model.source import Span
from harness.model.verdicts import TargetVerdict, Verdict
from harness.verdict.judge import judge

HERE = Span("policies/targets.yaml", 1, 1, 1, 1)
RETENTION = Target("retention", Basis.BOUNDARY, 90, "days", "kept", HERE)
RESTORE = Target("restore-time", Basis.MAXIMUM, 3600, "seconds", "back", HERE)
STORES = StoresDeclared((StoreToKeep("prometheus", "prometheus", True), StoreToKeep("mysql", "mariadb", False)))
PROBE = RetentionProbed(
    store="prometheus",
    of_kind="prometheus",
    keeps="--storage.tsdb.retention.time=90d",
    unit="block",
    unit_days=0.01,
    aged=(
        AgedData(1.0, 80.0, 1000, 1000),
        AgedData(89.9, 89.95, 10, 10),
        AgedData(88.0, 94.0, 100, 50),
        AgedData(90.06, 90.07, 10, 0),
    ),
)
DRILLS = tuple(
    RestoreDrilled(store, kind, records=records, bytes=records * 100, backup_seconds=0.1, restore_seconds=seconds)
    for store, kind in (("prometheus", "prometheus"), ("mysql", "mariadb"))
    for records, seconds in ((1000, 1.0), (4000, 1.3), (16000, 2.6))
)


def judged(target: Target, *events: Payload, profile: str = "gate") -> TargetVerdict:
    """The target over a run in which these events happened."""
    return judge(smoke(profile=profile, extra=[(-10, TargetDeclared(target)), *((1, one) for one in events)])).targets[
        -1
    ]


def aged(*changed: AgedData) -> RetentionProbed:
    """The probe with other data."""
    return replace(PROBE, aged=changed)


def test_data_at_the_edge_answers_and_what_is_beyond_is_gone() -> None:
    """Pass, with what was seen; data across the edge is of no account."""
    found = judged(RETENTION, STORES, PROBE)
    assert (found.verdict, found.n, found.evidence) == (Verdict.PASS, 1, "real")
    assert found.observed == 89.95
    assert "answers data of 89.95 d; that of 90.06 d is gone" in found.claim
    assert "--storage.tsdb.retention.time=90d" in found.claim


def test_a_shorter_retention_fails() -> None:
    """The twin: the last record before the edge is gone."""
    found = judged(RETENTION, STORES, aged(*PROBE.aged[:1], AgedData(89.9, 89.95, 10, 9), *PROBE.aged[2:]))
    assert found.verdict is Verdict.FAIL
    assert "answers 9 of 10 records that are 89.90 to 89.95 d old" in found.claim
    assert found.observed == 80.0


def test_a_hole_in_younger_data_fails() -> None:
    """Not only the edge counts."""
    found = judged(RETENTION, STORES, aged(AgedData(1.0, 80.0, 1000, 999), *PROBE.aged[1:]))
    assert found.verdict is Verdict.FAIL
    assert found.observed == 0.0


def test_a_longer_retention_costs() -> None:
    """It is met, and the claim says that it is more than was asked for."""
    found = judged(RETENTION, STORES, aged(*PROBE.aged[:3], AgedData(90.06, 90.07, 10, 10)))
    assert found.verdict is Verdict.PASS
    assert "still of 90.06 d, which costs more than is asked for" in found.claim


@pytest.mark.parametrize(
    ("events", "why"),
    [
        ([], "no store whose data ages was declared"),
        ([StoresDeclared((StoreToKeep("mysql", "mariadb", False),))], "no store whose data ages was declared"),
        ([STORES], "prometheus: nobody probed it"),
        ([STORES, replace(PROBE, store="another")], "prometheus: nobody probed it"),
        ([STORES, replace(PROBE, error="promtool ended with code 1")], "prometheus: promtool ended with code 1"),
        ([STORES, aged()], "was not asked for data at the edge"),
        ([STORES, aged(PROBE.aged[0], PROBE.aged[3])], "was not asked for data at the edge of 90 d"),
        ([STORES, aged(*PROBE.aged[:3])], "was not given data beyond 90 d"),
        ([STORES, aged(*PROBE.aged[:3], AgedData(90.06, 90.07, 0, 0))], "was not given data beyond 90 d"),
        ([STORES, replace(PROBE, unit_days=1.0)], "was not given data beyond 90 d and one block"),
    ],
)
def test_what_nobody_looked_at_is_unverified(events: Sequence[Payload], why: str) -> None:
    """A store that was declared and not probed, or not where it counts, is no pass."""
    found = judged(RETENTION, *events)
    assert found.verdict is Verdict.UNVERIFIED
    assert why in found.claim


def test_equal_content_in_time_is_a_pass() -> None:
    """With the longest drill, and what the line says of an hour."""
    found = judged(RESTORE, STORES, *DRILLS)
    assert (found.verdict, found.n, found.observed, found.evidence) == (Verdict.PASS, 6, 2.6, "real")
    assert "mysql: 2.6 s at most over 3 drills, up to " in found.claim
    assert "in 1 h by a straight line" in found.claim
    assert "times the largest drill" in found.claim


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"missing": 1}, "1 missing"),
        ({"changed": 2}, "2 changed"),
        ({"foreign": 3}, "3 never written"),
        ({"restore_seconds": 3600.5}, "took 3600.5 s to be back, 3600 s are allowed"),
    ],
)
def test_other_content_or_a_late_one_fails(change: dict[str, float], why: str) -> None:
    """The twins: one sample missing is enough, in any drill of any store."""
    for index in range(len(DRILLS)):
        drills = [replace(one, **change) if at == index else one for at, one in enumerate(DRILLS)]  # type: ignore[arg-type]
        found = judged(RESTORE, STORES, *drills)
        assert found.verdict is Verdict.FAIL
        assert why in found.claim


@pytest.mark.parametrize(
    ("events", "why"),
    [
        ([], "no store was declared and restored"),
        ([STORES], "prometheus: nobody restored it"),
        ([STORES, *DRILLS[:3]], "mysql: nobody restored it"),
        ([STORES, *DRILLS[:5], replace(DRILLS[5], error="mariadb ended with code 1")], "mariadb ended with code 1"),
        ([STORES, *DRILLS[:5], replace(DRILLS[5], records=0)], "mysql was restored without a record in it"),
    ],
)
def test_what_nobody_restored_is_unverified(events: Sequence[Payload], why: str) -> None:
    """A store that was declared and not drilled is no pass."""
    found = judged(RESTORE, *events)
    assert found.verdict is Verdict.UNVERIFIED
    assert why in found.claim


def test_another_product_is_told() -> None:
    """What stood in for a product is no real evidence; some of each is mixed."""
    stand_in = [replace(one, evidence="stand-in") for one in DRILLS]
    assert judged(RESTORE, STORES, *stand_in).evidence == "stand-in"
    assert judged(RESTORE, STORES, *DRILLS[:3], *stand_in[3:]).evidence == "mixed"
    assert judged(RETENTION, STORES, replace(PROBE, evidence="stand-in")).evidence == "stand-in"


def test_a_smoke_run_claims_nothing() -> None:
    """However good the sample is."""
    for target, events in ((RETENTION, (PROBE,)), (RESTORE, DRILLS)):
        found = judged(target, STORES, *events, profile="smoke")
        assert found.verdict is Verdict.INCONCLUSIVE
        assert "a smoke run claims nothing of it" in found.claim
