"""Causes silence their symptoms, from the symptom's first second until every window has forgotten the cause."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from policy_folders import SHIPPED, loaded
from policy_tools import ENVIRONMENT, firing, number, promtool, sabotaged, scraped

from harness.model.policy import Priority
from harness.model.stack import Artifact

SCRAPE = timedelta(seconds=2)
EVALUATION = timedelta(seconds=1)
ONSET, HEALED, END = 30, 60, 110
"""Seconds of an outage in the tests below."""

AFTERWARDS = {"DatabaseConnectionsHigh"}
"""Symptoms that come only when the cause is over: until then there is no figure that they could fire on."""


def pairs() -> dict[str, set[str]]:
    """Each cause with the symptoms that it silences, as alertmanager.yml says."""
    config: dict[str, Any] = yaml.safe_load((SHIPPED / "alertmanager.yml").read_text(encoding="utf-8"))
    found: dict[str, set[str]] = {}
    for rule in config["inhibit_rules"]:
        assert rule["equal"] == ["environment"]
        source = dict(_matcher(text) for text in rule["source_matchers"])
        assert source["alertname"] == {"CauseRecently"}
        (target,) = (_matcher(text) for text in rule["target_matchers"])
        assert target[0] == "alertname"
        for cause in source["cause"]:
            found.setdefault(cause, set()).update(target[1])
    return found


def _matcher(text: str) -> tuple[str, set[str]]:
    label, names = re.fullmatch(r'(\w+) =~? "?([\w|]+)"?', text).groups()  # type: ignore[union-attr]
    return label, set(names.split("|"))


PAIRS = [(cause, symptom) for cause, symptoms in sorted(pairs().items()) for symptom in sorted(symptoms)]


def test_causes_are_those_that_are_remembered() -> None:
    """CauseRecently looks at exactly the alerts that alertmanager.yml names as causes, and all of them are there."""
    expr = loaded().policies.alert("CauseRecently").expr
    remembered = re.search(r'alertname=~"([\w|]+)"', expr)
    assert remembered is not None
    assert set(remembered[1].split("|")) == set(pairs())
    for cause, symptom in PAIRS:
        assert loaded().policies.alert(cause)
        assert loaded().policies.alert(symptom)


@pytest.mark.parametrize(("cause", "symptom"), PAIRS)
def test_nobody_is_silenced_by_the_less_urgent(cause: str, symptom: str) -> None:
    """A symptom that would wake more people than its cause is heard."""
    urgency = list(Priority)
    priorities = {name: Priority(loaded().policies.alert(name).labels["priority"]) for name in (cause, symptom)}
    assert urgency.index(priorities[cause]) <= urgency.index(priorities[symptom])


@pytest.mark.parametrize(("cause", "symptom"), [pair for pair in PAIRS if pair[1] not in AFTERWARDS])
def test_a_symptom_waits_for_its_cause(cause: str, symptom: str) -> None:
    """Its hold covers the cause's hold, a scrape and an evaluation."""
    policies = loaded().policies
    assert policies.alert(symptom).hold >= policies.alert(cause).hold + SCRAPE + EVALUATION


# --- outages, second by second, in the real engine --------------------------------------------------------------

Value = Callable[[int], float | None]


def during(well: float, ill: float) -> Value:
    """A gauge that is ill during the outage."""
    return lambda second: ill if ONSET <= second < HEALED else well


def counter(well: float, ill: float, late: int = 0) -> Value:
    """What a counter grows by in a second, while all is well and while it is not; the end is felt `late` seconds on."""

    def value(second: int) -> float:
        bad = max(0, min(second, HEALED + late) - ONSET)
        return well * (second - bad) + ill * bad

    return value


def of(name: str, value: Value, phase: int, **labels: str) -> dict[str, str]:
    """A series of the environment, scraped at even or at odd seconds."""
    written = ",".join([ENVIRONMENT, *(f'{key}="{text}"' for key, text in labels.items())])
    return scraped(f"{name}{{{written}}}", value, END, phase)


def application(phase: int, **values: Value) -> list[dict[str, str]]:
    """The application's series: what is not named is well, 9 requests a second and 10 look-ups in the cache."""
    well = {
        "good": counter(9, 9),
        "bad": counter(0, 0),
        "seconds": counter(0.05, 0.05),
        "queries": counter(0.05, 0.05),
        "hits": counter(8, 8),
        "misses": counter(2, 2),
        "unavailable": counter(0, 0),
    }
    now = {**well, **values}
    answered: Value = lambda second: (now["good"](second) or 0) + (now["bad"](second) or 0)  # noqa: E731
    gone: Value = lambda second: answered(second) if now["good"](second) is not None else None  # noqa: E731
    return [
        of("http_requests_total", now["good"], phase, status="200"),
        of("http_requests_total", now["bad"], phase, status="500"),
        of("http_request_duration_seconds_sum", now["seconds"], phase),
        of("http_request_duration_seconds_count", gone, phase),
        of("database_query_duration_seconds_sum", now["queries"], phase),
        of("database_query_duration_seconds_count", gone, phase),
        of("cache_hits_total", now["hits"], phase),
        of("cache_misses_total", now["misses"], phase),
        of("storage_errors_total", now["unavailable"], phase, kind="unavailable"),
    ]


def exporter(name: str, value: Value, job: str, phase: int) -> dict[str, str]:
    """A series of one target."""
    return of(name, value, phase, job=job, instance=f"{job}:1")


def refused(phase: int) -> list[dict[str, str]]:
    """The database refuses: everything fails, the cache runs out, and the application needs 2 s to come back."""
    return [
        exporter("mysql_up", during(1, 0), "mysql", 1 - phase),
        *application(
            phase,
            good=counter(9, 0, 2),
            bad=counter(0, 9, 2),
            queries=counter(0.05, 2, 2),
            hits=counter(8, 0, 2),
            misses=counter(2, 10, 2),
            unavailable=counter(0, 9, 2),
        ),
    ]


def half_open(phase: int) -> list[dict[str, str]]:
    """The database is silent: the exporter's scrape is lost, and each of four users gets an error after 3 s.

    Statements sent up to 4 s after the end still go by a connection that hangs.
    """
    given_up = counter(0, 1.25, 4)
    errors: Value = lambda second: given_up(max(0, second - 3))  # noqa: E731
    waited: Value = lambda second: 0.05 * second + 3 * (errors(second) or 0)  # noqa: E731
    return [
        exporter("up", during(1, 0), "mysql", 1 - phase),
        exporter("mysql_up", lambda second: None if ONSET <= second < HEALED else 1, "mysql", 1 - phase),
        *application(phase, good=counter(9, 0, 4), bad=errors, seconds=waited, queries=waited, unavailable=errors),
    ]


def killed(phase: int) -> list[dict[str, str]]:
    """The server is gone, and so is every series of it; it comes back with new counters, some errors, a cold cache."""

    def anew(each: float, first: float = 0) -> Value:
        def value(second: int) -> float | None:
            if ONSET <= second < HEALED:
                return None
            since = second - HEALED
            return each * second if second < ONSET else each * since + first * min(since, 5)

        return value

    return [
        exporter("up", during(1, 0), "community-platform", 1 - phase),
        *application(
            phase,
            good=anew(9, -6),
            bad=anew(0, 6),
            seconds=anew(0.05),
            queries=anew(0.05, 1),
            hits=anew(8, -8),
            misses=anew(2, 8),
        ),
    ]


def frozen(phase: int) -> list[dict[str, str]]:
    """The server stands still and goes on: its series pause; what it held back ends after 30 s, in errors."""
    pause: Callable[[float, float], Value] = lambda each, held: (  # noqa: E731
        lambda second: (
            None
            if ONSET <= second < HEALED
            else each * second
            if second < ONSET
            else each * (ONSET + second - HEALED) + (held if second >= HEALED + 2 else 0)
        )
    )
    return [
        exporter("up", during(1, 0), "community-platform", 1 - phase),
        *application(
            phase,
            good=pause(9, 4),
            bad=pause(0, 40),
            seconds=pause(0.05, 120),
            queries=pause(0.05, 60),
            hits=pause(8, 0),
            misses=pause(2, 0),
        ),
    ]


def cache_killed(phase: int) -> list[dict[str, str]]:
    """Redis is gone: a tenth of all requests fails, every look-up misses, and the cache comes back empty."""
    return [
        exporter("redis_up", during(1, 0), "redis", 1 - phase),
        *application(
            phase,
            good=counter(9, 8, 2),
            bad=counter(0, 1, 2),
            hits=counter(8, 0, 4),
            misses=counter(2, 10, 4),
        ),
    ]


def posts_missing(share: float) -> Callable[[int], list[dict[str, str]]]:
    """That share of all requests fails at once, and posts are forgotten by the cache one by one, over its 10 s."""

    def series(phase: int) -> list[dict[str, str]]:
        def hits(second: int) -> float:
            bad = max(0, min(second, HEALED) - ONSET)
            fading = sum(0.8 * max(0, 10 - each) for each in range(min(bad, 10)))
            return 8 * (second - bad) + fading

        return application(
            phase,
            good=counter(9, 9 * (1 - share)),
            bad=counter(0, 9 * share),
            hits=hits,
            misses=lambda second: 10 * second - hits(second),
        )

    return series


def memory_full(phase: int) -> list[dict[str, str]]:
    """Memory fills up from 40 to 98 % at once."""
    return [
        exporter("node_memory_MemAvailable_bytes", during(60, 2), "node", phase),
        exporter("node_memory_MemTotal_bytes", during(100, 100), "node", phase),
    ]


OUTAGES: Mapping[str, tuple[Callable[[int], list[dict[str, str]]], str, set[str]]] = {
    "database refused": (
        refused,
        "DatabaseDown",
        {"ErrorRatioCritical", "HighErrorRatio", "SlowQueries", "CacheHitRatioLow"},
    ),
    "database half open": (
        half_open,
        "DatabaseDown",
        {"ErrorRatioCritical", "HighErrorRatio", "SlowQueries", "SlowResponses"},
    ),
    "server killed": (killed, "ServerDown", {"ErrorRatioCritical"}),
    "server frozen": (frozen, "ServerDown", {"SlowResponses", "SlowQueries"}),
    "cache killed": (cache_killed, "CacheDown", {"HighErrorRatio", "CacheHitRatioLow"}),
    "posts missing, a third fails": (posts_missing(0.33), "ErrorRatioCritical", {"HighErrorRatio", "CacheHitRatioLow"}),
    "posts missing, half fails": (posts_missing(0.5), "ErrorRatioCritical", {"HighErrorRatio", "CacheHitRatioLow"}),
    "memory full": (memory_full, "HostMemoryCritical", {"HostMemoryHigh"}),
}
"""What happens, the alert that is to be heard, and those that would be, were they not silenced."""


def unexplained(told: str) -> str:
    """How many symptoms fire for which no cause is remembered; the one that is to be told is none."""
    parts = (
        f'(ALERTS{{alertname="{symptom}",alertstate="firing"}} unless on (environment) ALERTS{{'
        f'alertname="CauseRecently",alertstate="firing",'
        f'cause=~"{"|".join(cause for cause, other in PAIRS if other == symptom)}"}})'
        for symptom in sorted({symptom for _, symptom in PAIRS} - {told})
    )
    return f"count({' or '.join(parts)}) or vector(0)"


def quiet(told: str) -> list[dict[str, Any]]:
    """At no second does a symptom fire unexplained beside what is told.

    The engine evaluates all groups at once here, so that CauseRecently is up to a second (one evaluation) earlier than
    it may be in life; the 2 s of group_wait, in which nothing is sent yet, are not counted either.
    """
    return [number(unexplained(told), second, 0) for second in range(END)]


def fired(names: Iterable[str]) -> list[dict[str, Any]]:
    """Each of these fired at some time."""
    return [
        number(f'count(max_over_time(ALERTS{{alertname="{name}",alertstate="firing"}}[{END}s])) > bool 0', END - 1, 1)
        for name in sorted(names)
    ]


@pytest.mark.stack
@pytest.mark.parametrize("outage", OUTAGES)
@pytest.mark.parametrize("phase", [0, 1])
def test_an_outage_is_told_by_its_cause_alone(
    tmp_path: Path, artifacts: Mapping[str, Artifact], outage: str, phase: int
) -> None:
    """Whichever target is scraped first: symptoms fire, and each of their seconds is explained, after the end too."""
    series, cause, symptoms = OUTAGES[outage]
    assert promtool(artifacts, tmp_path, series(phase), [*quiet(cause), *fired({cause, *symptoms})]) == ""


@pytest.mark.stack
@pytest.mark.parametrize(
    ("outage", "before", "after"),
    [
        pytest.param("database refused", "}[20s]", "}[5s]", id="forgets after 5 s"),
        pytest.param("database refused", "}[20s]", "}[8s]", id="forgets after 8 s"),
        pytest.param("server frozen", "}[20s]", "}[5s]", id="forgets a frozen server"),
        pytest.param("database half open", "}[20s]", "}[15s]", id="forgets before what hung has given up"),
        pytest.param("posts missing, a third fails", "for: 12s", "for: 8s", id="error ratio too soon"),
        pytest.param("posts missing, a third fails", "for: 10s", "for: 1s", id="hit ratio too soon"),
        pytest.param("memory full", "for: 5s", "for: 1s", id="memory too soon"),
        pytest.param("database refused", "DatabaseDown|CacheDown", "CacheDown", id="a cause forgotten"),
    ],
)
def test_without_this_somebody_would_be_called_for_nothing(
    tmp_path: Path, artifacts: Mapping[str, Artifact], outage: str, before: str, after: str
) -> None:
    """The test above goes red for an inhibitor that forgets too soon and for a symptom that does not wait."""
    series, cause, _ = OUTAGES[outage]
    rules = sabotaged(tmp_path, before, after)
    complaints = [promtool(artifacts, tmp_path, series(phase), quiet(cause), rules) for phase in (0, 1)]
    assert any("exp:" in complaint for complaint in complaints)


@pytest.mark.stack
def test_another_environment_is_not_silenced(tmp_path: Path, artifacts: Mapping[str, Artifact]) -> None:
    """A cause is remembered for its own environment, and only while it is fresh."""
    here = [*refused(0), *(_elsewhere(one) for one in application(0, good=counter(9, 0), bad=counter(0, 9)))]
    told = [
        firing("CauseRecently", HEALED - 1, 1, 'environment="production",cause="DatabaseDown"'),
        firing("CauseRecently", HEALED - 1, 0, 'environment="elsewhere",cause="DatabaseDown"'),
        firing("ErrorRatioCritical", HEALED - 1, 1, 'environment="elsewhere"'),
        firing("CauseRecently", END - 1, 0),
    ]
    assert promtool(artifacts, tmp_path, here, told) == ""


def _elsewhere(series: dict[str, str]) -> dict[str, str]:
    return {**series, "series": series["series"].replace(ENVIRONMENT, 'environment="elsewhere"')}
