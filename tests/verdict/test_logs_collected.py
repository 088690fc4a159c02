"""logs-collected: a census of records, faults included, that no blind audit can pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from ledgers import smoke

from harness.model.audit import AuditControl, Fates, RecordsAudited, RecordsNotAudited
from harness.model.events import Payload, TargetDeclared
from harness.model.policy import Basis, Target
from harness.model.source import Span
from harness.model.verdicts import TargetVerdict, Verdict
from harness.verdict.judge import judge

TARGET = Target("logs-collected", Basis.CENSUS, 0.99, "ratio", "records", Span("policies/targets.yaml", 1, 1, 1, 1))
EXACT = AuditControl(7, 7, 7)


def source(name: str = "application", *, control: AuditControl = EXACT, **fates: int) -> RecordsAudited:
    """The audit of a source with these fates."""
    return RecordsAudited(
        source=name,
        store="OpenSearch 2.19.5",
        fates=Fates(written=sum(fates.values()), **fates),
        delay_p99_seconds=1.25,
        control=control,
        stands_in={"for": "Elasticsearch", "is": "OpenSearch"},
    )


def judged(*audits: Payload, profile: str = "gate", more: Sequence[Payload] = ()) -> TargetVerdict:
    """The target over a run with these audits."""
    extra = [(-10.0, TargetDeclared(TARGET)), *((300.0, payload) for payload in (*audits, *more))]
    return next(one for one in judge(smoke(profile=profile, extra=extra)).targets if one.id == TARGET.id)


def test_every_record_found_is_a_pass() -> None:
    """In the claim as in the numbers, with the product that stood in; a second copy is no loss."""
    found = judged(source(in_time=900, duplicate=100), source("error", in_time=100))
    assert (found.verdict, found.observed, found.n) == (Verdict.PASS, 1.0, 1100)
    assert (found.evidence, found.stands_in) == ("stand-in", {"for": "Elasticsearch", "is": "OpenSearch"})
    assert found.claim == (
        "1100 of 1100 records of 2 sources were found whole within 60 s in this window, faults included; "
        "100 were found more than once; p99 of the delay 1.2 s (application)"
    )


@pytest.mark.parametrize("fate", ["lost", "corrupt", "late"])
@pytest.mark.parametrize(("bad", "verdict"), [(10, Verdict.PASS), (11, Verdict.FAIL)])
def test_the_objective_is_the_limit(fate: str, bad: int, verdict: Verdict) -> None:
    """99 % of all is enough and less is not, whichever way a record went."""
    audit = replace(source(), fates=replace(Fates(written=1000, in_time=1000 - bad), **{fate: bad}))
    found = judged(audit)
    assert found.verdict is verdict
    assert f"; {bad} {fate}, most in application" in found.claim


def test_the_ratio_is_over_all_sources() -> None:
    """A small source that lost everything does not fail the whole by itself, and is named."""
    found = judged(source(in_time=10_000), source("error", lost=5, in_time=5))
    assert found.verdict is Verdict.PASS
    assert "5 lost, most in error" in found.claim


def test_what_nobody_knows_passes_nothing_and_fails_nothing() -> None:
    """Unverified records could be collected or lost: only what holds either way is said."""
    assert judged(source(in_time=995, unverified=5)).verdict is Verdict.PASS
    assert judged(source(in_time=980, unverified=20)).verdict is Verdict.UNVERIFIED
    assert judged(source(in_time=900, lost=80, unverified=20)).verdict is Verdict.FAIL


@pytest.mark.parametrize(
    ("control", "told"),
    [
        (AuditControl(0, 0, 0), "not one record of each kind was spoilt"),
        (AuditControl(7, 7, 7, "counted 20 in_time where it spoilt 7 lost"), "counted 20 in_time"),
    ],
)
def test_a_control_that_was_not_counted_exactly_is_no_evidence(control: AuditControl, told: str) -> None:
    """Neither a pass nor a failure rests on an audit that cannot count what it spoilt itself."""
    for audit in (source(in_time=100, control=control), source(in_time=1, lost=99, control=control)):
        found = judged(audit)
        assert found.verdict is Verdict.UNVERIFIED
        assert "the negative control of application was not counted exactly" in found.claim
        assert told in found.claim


def test_where_everything_is_lost_there_is_nothing_to_spoil() -> None:
    """A store that has nothing is a failure, not a doubt."""
    assert judged(source(lost=100, control=AuditControl(0, 0, 0, "only 0"))).verdict is Verdict.FAIL


def test_a_source_that_was_not_audited_is_told() -> None:
    """The others may be whole: of this one nobody knows. No audit, no manifest, nothing at all: likewise."""
    gap = RecordsNotAudited("the store at 127.0.0.1:9 cannot be reached", "error")
    found = judged(source(in_time=100), gap)
    assert found.verdict is Verdict.UNVERIFIED
    assert "not audited: error: the store at 127.0.0.1:9 cannot be reached" in found.claim
    assert judged(source(lost=100), gap).verdict is Verdict.FAIL
    assert judged(gap).verdict is Verdict.UNVERIFIED
    assert "nobody looked" in judged().claim
    assert judged(source()).verdict is Verdict.UNVERIFIED


def test_a_source_that_wrote_nothing_is_told_and_turns_nothing_red() -> None:
    """Nobody need have failed to log in. A store for which nobody wrote anything is unknown, whatever another has."""
    quiet = judged(source(in_time=100), source("error"))
    assert quiet.verdict is Verdict.PASS
    assert quiet.claim.endswith("; no record of error was written in this window")
    events = replace(source("security"), store="ClickHouse 26.9")
    unknown = judged(source(in_time=100), events)
    assert unknown.verdict is Verdict.UNVERIFIED
    assert "no record of security was written in this window, and no other for ClickHouse 26.9" in unknown.claim
    heard = judged(source(in_time=100), events, replace(source("user", in_time=10), store="ClickHouse 26.9"))
    assert heard.verdict is Verdict.PASS
    assert judged(source(lost=100), events).verdict is Verdict.FAIL


def test_a_source_too_small_to_be_spoilt_rests_on_the_others() -> None:
    """Two records leave nothing to spoil; three would, and no other store's control speaks for this one."""
    untried = AuditControl(0, 0, 0, "only 2 whole records could be drawn for it")
    assert judged(source(in_time=100), source("error", in_time=2, control=untried)).verdict is Verdict.PASS
    assert judged(source(in_time=100), source("error", in_time=3, control=untried)).verdict is Verdict.UNVERIFIED
    wrong = AuditControl(1, 1, 1, "counted nothing")
    assert judged(source(in_time=100), source("error", in_time=2, control=wrong)).verdict is Verdict.UNVERIFIED
    elsewhere = replace(source("user", in_time=2, control=untried), store="ClickHouse 26.9")
    assert judged(source(in_time=100), elsewhere).verdict is Verdict.UNVERIFIED


def test_every_stand_in_is_named() -> None:
    """Two stores, two products that are not the policy's own."""
    other = replace(source("user", in_time=10), stands_in={"for": "ClickHouse", "is": "chdb"})
    assert judged(source(in_time=100), other, source("error", in_time=1)).stands_in == {
        "for": "Elasticsearch, ClickHouse",
        "is": "OpenSearch, chdb",
    }


def test_the_fault_under_which_most_was_lost_is_named() -> None:
    """Of the source that lost most."""
    audit = replace(
        source(in_time=900, lost=100), by_fault={"store-down": Fates(50, lost=50), "load": Fates(10, in_time=10)}
    )
    assert "most in application, while store-down was in place" in judged(audit).claim


def test_offending_fields_are_told() -> None:
    """With the source that has most of them."""
    audit = replace(source(in_time=100), schema_violations=3, offending={"duration: type": 3})
    assert "3 copies violate their schema (application, duration: type)" in judged(audit).claim


def test_the_last_audit_of_a_source_counts() -> None:
    """A source that was audited again is not counted twice."""
    assert judged(source(lost=10), source(in_time=10)).n == 10


def test_a_smoke_run_claims_nothing() -> None:
    """It is too short for a census to say much."""
    found = judged(source(lost=10), profile="smoke")
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "claims nothing" in found.claim
