"""Events become JSON and come back, whatever is in them."""

from __future__ import annotations

import dataclasses
import json
import math
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import ClassVar, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.model.events import ComponentExited, HopSeen, InjectionPlanned, LoadMeasured, Payload, StagePlanned
from harness.model.hops import Hop
from harness.model.plan import Control, Injection, Stage
from harness.observe.codec import KINDS, Json, decode, encode
from harness.observe.ledger import ENVELOPE
from harness.observe.redaction import REDACTED, Redactor

# Exact to the microsecond as a number of seconds; a century either way is more than a run lasts.
st.register_type_strategy(timedelta, st.timedeltas(timedelta(days=-36500), timedelta(days=36500)))
st.register_type_strategy(float, st.floats(allow_nan=False))


def injection() -> Injection:
    """An ordinary injection."""
    return Injection(
        id="i-1", alert="ServerDown", fault="server-killed", lane="lane-1", channels=("email", "slack"),
        start=timedelta(0), phase=timedelta(milliseconds=250), heal_after=timedelta(seconds=1.5),
        hold=timedelta(seconds=35), deadline=timedelta(seconds=30), since_condition=None,
        rule_hold=timedelta(seconds=2), control=Control.LATE,
    )  # fmt: skip


@pytest.mark.parametrize("kind", sorted(KINDS))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_every_event_comes_back_as_it_went(kind: str, data: st.DataObject) -> None:
    """Whatever the fields hold, an event that went through a line of JSON equals the one that was written."""
    payload = data.draw(cast("st.SearchStrategy[Payload]", st.builds(KINDS[kind])))
    line = json.dumps(encode(payload), allow_nan=False)
    assert decode(kind, json.loads(line)) == payload


def test_every_kind_of_the_union_is_known_once() -> None:
    """Two events with one name could not be told apart in a ledger."""
    assert len(KINDS) == len(typing.get_args(Payload))


def test_no_field_has_a_name_of_the_envelope() -> None:
    """A field called `wall` would overwrite the line's own clock."""
    for kind, payload in KINDS.items():
        assert not {field.name for field in dataclasses.fields(payload)} & set(ENVELOPE), kind


def test_the_forms_that_the_documentation_promises() -> None:
    """Durations are seconds, enums their value, sets sorted, tuples arrays, None null."""
    planned = cast("Mapping[str, Mapping[str, Json]]", encode(InjectionPlanned(injection())))["injection"]
    assert planned["phase"] == 0.25
    assert planned["control"] == "late"
    assert planned["channels"] == ["email", "slack"]
    assert planned["since_condition"] is None
    stage = StagePlanned(Stage("alerts", 1.5, timedelta(seconds=90), excludes=frozenset({"logs", "browser"})))
    assert cast("Mapping[str, Mapping[str, Json]]", encode(stage))["stage"]["excludes"] == ["browser", "logs"]


@pytest.mark.parametrize(("value", "written"), [(math.inf, "Infinity"), (-math.inf, "-Infinity"), (math.nan, "NaN")])
def test_numbers_beyond_json_are_strings(value: float, written: str) -> None:
    """An infinite latency stays infinite; it is neither null, which means unknown, nor invalid JSON."""
    measured = LoadMeasured(requests=1, failures=1, p50_seconds=value, p95_seconds=0, max_seconds=0)
    fields = encode(measured)
    assert fields["p50_seconds"] == written
    back = cast("LoadMeasured", decode("load-measured", fields))
    assert back.p50_seconds == value or (math.isnan(value) and math.isnan(back.p50_seconds))


def test_a_field_of_a_later_version_is_passed_over() -> None:
    """A ledger of tomorrow with one more field can be read today."""
    fields: dict[str, Json] = {**encode(ComponentExited("mysql", "lane-1", -9, True)), "cgroup": {"memory": 1}}
    assert decode("component-exited", fields) == ComponentExited("mysql", "lane-1", -9, True)


def test_a_field_of_an_earlier_version_takes_its_default() -> None:
    """A ledger of yesterday that lacks a newer field can be read today."""
    fields = encode(ComponentExited("mysql", None, 0, False, ("last words",)))
    del fields["output"]
    assert decode("component-exited", fields) == ComponentExited("mysql", None, 0, False, ())


def test_an_unknown_kind_is_nothing_that_is_known() -> None:
    """What this version has no type for is left to whoever reads the fields."""
    assert decode("log-line-written", {"id": "run/1/1"}) is None


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"at": "noon"}, "hop.at must be a number and is 'noon'"),
        ({"at": True}, "hop.at must be a number and is True"),
        ({"subject": 3}, "hop.subject must be a string and is 3"),
        ({"family": None}, "hop.family must be a string and is None"),
    ],
)
def test_a_field_of_the_wrong_type_is_named(change: dict[str, Json], sentence: str) -> None:
    """Who reads a broken ledger is told which field is wrong and what is there."""
    fields = encode(HopSeen("i-1", "ServerDown", "visible", 1.0, "prometheus"))
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        decode("hop", {**fields, **change})


def test_missing_and_nested_fields_are_named() -> None:
    """The place of a fault inside an event is told as a path."""
    fields = cast("dict[str, dict[str, Json]]", encode(InjectionPlanned(injection())))
    with pytest.raises(ValueError, match=r"planned\.injection\.control must be one of lost, late and is 'never'"):
        decode("planned", {"injection": {**fields["injection"], "control": "never"}})
    del fields["injection"]["hold"], fields["injection"]["alert"]
    with pytest.raises(ValueError, match=r"planned\.injection lacks alert, hold"):
        decode("planned", cast("dict[str, Json]", fields))


def test_a_field_that_nobody_could_read_back_is_not_written() -> None:
    """A mistake of the writer shows where it is made, not when the report is due."""
    with pytest.raises(TypeError, match="a number must be written here"):
        encode(HopSeen("i-1", "ServerDown", "visible", cast("float", "now"), "prometheus"))
    with pytest.raises(TypeError, match="a string must be written here"):
        encode(HopSeen("i-1", cast("str", None), "visible", 1.0, "prometheus"))


def test_an_enum_may_stand_where_a_string_is_asked_for() -> None:
    """`HopSeen.hop` is open to other families, and an alert's hop is written by its name."""
    assert encode(HopSeen("i-1", "ServerDown", Hop.VISIBLE, 1.0, "prometheus"))["hop"] == "visible"


def test_a_type_without_a_form_is_refused() -> None:
    """A new event with a field that JSON cannot carry is noticed by its first test, not in a run."""

    @dataclass(frozen=True)
    class Odd:
        kind: ClassVar[str] = "odd"
        when: complex

    with pytest.raises(TypeError, match="no form for a field of type"):
        encode(cast("Payload", Odd(1j)))


def test_paths_are_strings() -> None:
    """A path is written as it is typed."""
    kept = dataclasses.make_dataclass("kept", [("where", Path)])
    assert encode(cast("Payload", kept(Path("a/b")))) == {"where": "a/b"}


def test_strings_everywhere_in_an_event_are_redacted_and_names_are_not() -> None:
    """Nested strings and values of mappings pass the redactor; field names, enums and keys stay what they are."""
    late = dataclasses.replace(injection(), alert="hunter22", tolerates=("is-hunter22",))
    fields = cast("Mapping[str, Mapping[str, Json]]", encode(InjectionPlanned(late), Redactor(["hunter22", "late"])))
    assert fields["injection"]["alert"] == REDACTED
    assert fields["injection"]["tolerates"] == [f"is-{REDACTED}"]
    assert fields["injection"]["control"] == "late"
