"""Every shipped rule in the real engine: it fires at its threshold, after its hold, and neither before nor below."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from policy_folders import loaded
from policy_tools import ENVIRONMENT, firing, number, promtool, sabotaged, scraped

from harness.model.stack import Artifact

pytestmark = pytest.mark.stack

ONSET = 40
"""The second from which on a condition is true; it is scraped at this very second."""

Value = Callable[[int], float | None]


def level(before: float, after: float) -> Value:
    """A gauge that changes at the onset."""
    return lambda second: after if second >= ONSET else before


def steady(value: float) -> Value:
    """A gauge that stays."""
    return lambda _: value


def grows(before: float, after: float) -> Value:
    """A counter: what it grows by in a second, before the onset and from then on."""
    return lambda second: before * min(second, ONSET) + after * max(0, second - ONSET)


def series(name: str, value: Value, **labels: str) -> dict[str, str]:
    """A series of the environment."""
    written = ",".join([ENVIRONMENT, *(f'{key}="{text}"' for key, text in labels.items())])
    return scraped(f"{name}{{{written}}}", value)


def instance(name: str, value: Value, job: str, **labels: str) -> dict[str, str]:
    """A series of one target."""
    return series(name, value, job=job, instance=f"{job}:1", **labels)


def security(action: str, value: Value) -> dict[str, str]:
    """Security events as the collector counts them."""
    return series("event_collector_events_accepted_total", value, kind="security", action=action)


HOLDS = {
    "ServerDown": 2,
    "DatabaseDown": 2,
    "CacheDown": 2,
    "TargetMissing": 3,
    "ErrorRatioCritical": 5,
    "HighErrorRatio": 12,
    "SlowResponses": 5,
    "DatabaseConnectionsHigh": 2,
    "FailedLoginBurst": 0,
    "HeapHigh": 2,
    "CacheHitRatioLow": 10,
    "SlowQueries": 8,
    "HighCpu": 5,
    "HostMemoryCritical": 2,
    "HostMemoryHigh": 5,
    "DiskAlmostFull": 2,
    "NetworkTrafficAnomaly": 5,
    "ExporterDown": 3,
    "CollectionRatioLow": 0,
    "ConfigReloadFailed": 0,
    "LogsNotCollected": 10,
    "NotificationsFailing": 0,
    "MonitoringRestarted": 0,
}
"""Seconds that each condition must hold; every reason stands in the rule file."""


@dataclass(frozen=True)
class Case:
    """What makes an alert fire at exactly its threshold, and what is just not enough.

    `crossing` is how long its window needs at most, in seconds, until the expression is true.
    """

    alert: str
    enough: Sequence[dict[str, str]]
    not_enough: Sequence[dict[str, str]]
    crossing: int = 0


def up(job: str, value: Value) -> dict[str, str]:
    """Whether a target of the job answers."""
    return instance("up", value, job)


def requests(failed: float, answered: float, before: float = 0) -> list[dict[str, str]]:
    """Requests that fail and that are answered in a second; `before` of them failed until the onset."""
    return [
        series("http_requests_total", grows(answered, answered), status="200"),
        series("http_requests_total", grows(before, failed), status="500"),
    ]


def mean(name: str, seconds: float, calls: float) -> list[dict[str, str]]:
    """A histogram's sum and count: what all calls of a second took together, and how many there were."""
    return [series(f"{name}_sum", grows(0, seconds)), series(f"{name}_count", grows(calls, calls))]


def memory(available: float) -> list[dict[str, str]]:
    """A host of whose memory so many percent are available from the onset on."""
    return [
        instance("node_memory_MemAvailable_bytes", level(60, available), "node"),
        instance("node_memory_MemTotal_bytes", steady(100), "node"),
    ]


def disk(available: float, fstype: str = "ext4") -> list[dict[str, str]]:
    """A disk of which so many percent are available from the onset on."""
    at = {"fstype": fstype, "mountpoint": "/", "device": "d"}
    return [
        instance("node_filesystem_avail_bytes", level(60, available), "node", **at),
        instance("node_filesystem_size_bytes", steady(100), "node", **at),
    ]


def cpu(idle: float) -> list[dict[str, str]]:
    """Two cores of which each is idle for that part of a second from the onset on.

    The share is a mean of floats, so its last digit is chance: a hair from the limit is as near as a test can go.
    """
    return [instance("node_cpu_seconds_total", grows(1, idle), "node", mode="idle", cpu=str(core)) for core in range(2)]


def heap(used: float) -> list[dict[str, str]]:
    """A process that holds so many percent of what it may from the onset on."""
    return [
        instance("nodejs_memory_usage_bytes", level(40, used), "community-platform", type="heapUsed"),
        instance("nodejs_memory_usage_bytes", steady(100), "community-platform", type="heapTotal"),
    ]


def connections(used: float) -> list[dict[str, str]]:
    """A database of whose connections so many percent are in use from the onset on."""
    return [
        instance("mysql_global_status_threads_connected", level(3, used), "mysql"),
        instance("mysql_global_variables_max_connections", steady(100), "mysql"),
    ]


def look_ups(hits: float, misses: float) -> list[dict[str, str]]:
    """Hits and misses in a second from the onset on; ten of eleven hit before."""
    return [
        series("cache_hits_total", grows(10, hits), cache="posts"),
        series("cache_misses_total", grows(1, misses), cache="posts"),
    ]


def received(before: float, after: float) -> list[dict[str, str]]:
    """Bytes that a network device receives in a second, before the onset and from then on."""
    return [instance("node_network_receive_bytes_total", grows(before, after), "node", device="eth0")]


def failed(name: str, every: int, of_these: int) -> list[dict[str, str]]:
    """A counter of Alertmanager that grows by one every so many seconds from the onset on, so many times."""
    times = range(ONSET, ONSET + every * of_these, every)
    return [instance(name, lambda second: sum(t <= second for t in times), "alertmanager", integration="webhook")]


def restarted(job: str) -> list[dict[str, str]]:
    """A process that is another one from the onset on."""
    return [instance("process_start_time_seconds", level(1000, 2000), job)]


HANGING = [
    up("mysql", level(1, 0)),
    instance("mysql_up", lambda second: 1 if second < ONSET else None, "mysql"),
    series("storage_errors_total", grows(0, 1), kind="unavailable"),
]
ALONE = [HANGING[0], HANGING[1], series("storage_errors_total", steady(0), kind="unavailable")]


def written(rate: float) -> list[dict[str, str]]:
    """Two instances that write as many log records a second in all."""
    return [
        instance("log_records_written_total", grows(rate / 2, rate / 2), "community-platform", log=log)
        for log in ("application", "error")
    ]


def taken_in(value: Value) -> dict[str, str]:
    """What the store of logs has taken in."""
    return instance("elasticsearch_indices_indexing_index_total", value, "elasticsearch", cluster="logs")


def outage(seconds: int, late: int = 0) -> Value:
    """A store that takes in 10 records a second, none during an outage, and all that waited when it is over.

    As where only applications write, 10 a second. The shipper needs `late` seconds in any case.
    """

    def value(second: int) -> float:
        return 10 * max(0, (ONSET if ONSET <= second < ONSET + seconds else second) - late)

    return value


CASES = (
    Case("ServerDown", [up("community-platform", level(1, 0))], [up("community-platform", steady(1))]),
    Case("DatabaseDown", [instance("mysql_up", level(1, 0), "mysql")], [instance("mysql_up", steady(1), "mysql")]),
    Case("DatabaseDown", HANGING, ALONE, crossing=2),
    Case("CacheDown", [instance("redis_up", level(1, 0), "redis")], [instance("redis_up", steady(1), "redis")]),
    Case(
        "TargetMissing",
        [up("redis", lambda second: 1 if second < ONSET else None)],
        [up("redis", level(1, 0))],
    ),
    Case("ErrorRatioCritical", requests(1, 3, before=1), requests(249, 751, before=249), crossing=10),
    Case("HighErrorRatio", requests(1, 19, before=1), requests(49, 951, before=49), crossing=10),
    Case(
        "SlowResponses",
        mean("http_request_duration_seconds", 8, 8),
        mean("http_request_duration_seconds", 7.9, 8),
        10,
    ),
    Case(
        "SlowQueries",
        mean("database_query_duration_seconds", 1, 20),
        mean("database_query_duration_seconds", 0.98, 20),
        10,
    ),
    Case("DatabaseConnectionsHigh", connections(80), connections(79)),
    Case(
        "FailedLoginBurst",
        [security("login_failed", grows(0, 1))],
        [security("login_failed", grows(0, 0.9)), security("access_denied", grows(0, 5))],
        10,
    ),
    Case("HeapHigh", heap(80), heap(79)),
    Case("CacheHitRatioLow", look_ups(4.9, 5.1), look_ups(5, 5), 10),
    Case("HighCpu", cpu(0.199), cpu(0.201), 10),
    Case("HostMemoryCritical", memory(5), memory(6)),
    Case("HostMemoryHigh", memory(20), memory(21)),
    Case("DiskAlmostFull", disk(10), disk(11)),
    Case("DiskAlmostFull", disk(0, "tmpfs"), disk(0, "squashfs")),
    Case("NetworkTrafficAnomaly", received(50e3, 2.5e6), received(50e3, 0.9e6), 10),
    Case("ExporterDown", [up("node", level(1, 0))], [up("prometheus", level(1, 0))]),
    Case(
        "CollectionRatioLow",
        [up("redis", lambda second: 0 if second >= ONSET and second % 8 == 0 else 1)],
        [up("redis", lambda second: 0 if second in {ONSET, ONSET + 2, ONSET + 4} else 1)],
        10,
    ),
    Case(
        "ConfigReloadFailed",
        [instance("alertmanager_config_last_reload_successful", level(1, 0), "alertmanager")],
        [instance("alertmanager_config_last_reload_successful", steady(1), "alertmanager")],
    ),
    Case(
        "ConfigReloadFailed",
        [instance("prometheus_config_last_reload_successful", level(1, 0), "prometheus")],
        [instance("prometheus_config_last_reload_successful", steady(1), "prometheus")],
    ),
    Case("LogsNotCollected", [*written(10), taken_in(grows(20, 4.9))], [*written(10), taken_in(grows(20, 5.1))], 10),
    Case(
        "NotificationsFailing",
        failed("alertmanager_notification_requests_failed_total", 2, 5),
        failed("alertmanager_notification_requests_failed_total", 1, 4),
        9,
    ),
    Case(
        "NotificationsFailing",
        failed("alertmanager_notifications_failed_total", 1, 1),
        failed("alertmanager_notifications_failed_total", 1, 0),
    ),
    Case("MonitoringRestarted", restarted("prometheus"), restarted("community-platform")),
    Case("MonitoringRestarted", restarted("dead-mans-listener"), [up("dead-mans-listener", level(1, 0))]),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.alert)
def test_it_fires_at_its_threshold_and_not_below(tmp_path: Path, artifacts: Mapping[str, Artifact], case: Case) -> None:
    """From the onset plus its hold (and what its window needs) on it fires; just below the threshold it never does."""
    due = ONSET + HOLDS[case.alert]
    heard = [firing(case.alert, second, 1) for second in range(due + case.crossing, due + case.crossing + 3)]
    if not case.crossing:
        heard.append(firing(case.alert, due - 1, 0))
    assert promtool(artifacts, tmp_path, case.enough, heard) == ""
    never = [firing(case.alert, second, 0) for second in range(ONSET, 90)]
    assert promtool(artifacts, tmp_path, case.not_enough, never) == ""


def test_every_rule_has_a_case() -> None:
    """No alert that a person may hear is left out above, but for the one that no rule raises; holds are as decided."""
    spoken = {alert.name for alert in loaded().policies.alerts if alert.labels["severity"] != "none" and alert.expr}
    assert {case.alert for case in CASES} == spoken
    assert {name: loaded().policies.alert(name).hold.total_seconds() for name in spoken} == HOLDS


@pytest.mark.parametrize(
    ("alert", "series_of"),
    [
        ("ServerDown", lambda value: up("community-platform", value)),
        ("DatabaseDown", lambda value: instance("mysql_up", value, "mysql")),
        ("CacheDown", lambda value: instance("redis_up", value, "redis")),
        ("ExporterDown", lambda value: up("mysql", value)),
        ("HostMemoryCritical", lambda value: instance("node_memory_MemAvailable_bytes", value, "node")),
    ],
)
def test_one_lost_scrape_is_nobodys_alarm(
    tmp_path: Path, artifacts: Mapping[str, Artifact], alert: str, series_of: Callable[[Value], dict[str, str]]
) -> None:
    """A single bad sample does not outlast the hold; two do."""
    others = [instance("node_memory_MemTotal_bytes", steady(1), "node")]
    for lost, count in ((1, 0), (2, 1)):
        bad = range(ONSET, ONSET + 2 * lost)
        one = series_of(lambda second, bad=bad: 0 if second in bad else 1)  # type: ignore[misc]
        seen = f'count(max_over_time(ALERTS{{alertname="{alert}",alertstate="firing"}}[30s])) or vector(0)'
        assert promtool(artifacts, tmp_path, [one, *others], [number(seen, ONSET + 20, count)]) == ""


LONE_ERROR = [
    series("http_requests_total", steady(7), status="200"),
    series("http_requests_total", level(0, 1), status="500"),
]
"""One request within a long time, and it fails."""

RARE_ERRORS = [
    series("http_requests_total", steady(7), status="200"),
    series("http_requests_total", lambda second: second // 8, status="500"),
]
"""One request in 8 s, and each fails."""


@pytest.mark.parametrize(
    ("alert", "quiet"),
    [
        ("HighErrorRatio", RARE_ERRORS),
        ("ErrorRatioCritical", LONE_ERROR),
        ("ErrorRatioCritical", requests(0, 0)),
        ("SlowResponses", [*mean("http_request_duration_seconds", 0.5, 0.1)]),
        ("SlowQueries", [*mean("database_query_duration_seconds", 0.5, 0.1)]),
        ("CacheHitRatioLow", look_ups(0, 0.9)),
    ],
)
def test_without_traffic_a_ratio_says_nothing(
    tmp_path: Path, artifacts: Mapping[str, Artifact], alert: str, quiet: list[dict[str, str]]
) -> None:
    """No request, or a lone one that is bad, is no ratio: nobody is woken."""
    never = [firing(alert, second, 0) for second in range(ONSET, 90)]
    assert promtool(artifacts, tmp_path, quiet, never) == ""


def test_a_flood_that_lasts_is_told_as_long_as_it_lasts(tmp_path: Path, artifacts: Mapping[str, Artifact]) -> None:
    """45 s of flood do not become what is usual; measured against the last minute they would within 20 s."""
    through = [firing("NetworkTrafficAnomaly", second, 1) for second in range(ONSET + 15, 88)]
    assert promtool(artifacts, tmp_path, received(50e3, 2.5e6), through) == ""
    minute = sabotaged(
        tmp_path,
        'quantile_over_time(0.1, rate(node_network_receive_bytes_total{device!="lo"}[10s])[2m:2s])',
        'rate(node_network_receive_bytes_total{device!="lo"}[1m])',
    )
    assert "exp:" in promtool(artifacts, tmp_path, received(50e3, 2.5e6), through, minute)


def test_three_times_what_is_usual_is_too_much(tmp_path: Path, artifacts: Mapping[str, Artifact]) -> None:
    """Usual is 1 MB/s, and has been for 90 s: 3.1 MB/s are told, 2.9 MB/s are not, though both are above the floor."""
    onset, end = 90, 120
    name = f'node_network_receive_bytes_total{{{ENVIRONMENT},device="eth0",job="node",instance="node:1"}}'
    for rate, count in ((3.1e6, 1), (2.9e6, 0)):
        flood = scraped(name, lambda second, rate=rate: 1e6 * second + (rate - 1e6) * max(0, second - onset), end)  # type: ignore[misc]
        told = [firing("NetworkTrafficAnomaly", second, count) for second in range(onset + 15, end)]
        assert promtool(artifacts, tmp_path, [flood], told) == ""


def test_lost_scrapes_are_over_after_twenty_seconds(tmp_path: Path, artifacts: Mapping[str, Artifact]) -> None:
    """CollectionRatioLow ends with its window, and a target that is down or restarted once does not raise it."""
    lost = up("redis", lambda second: 0 if ONSET - 30 <= second < ONSET and second % 4 == 0 else 1)
    over = [firing("CollectionRatioLow", ONSET - 1, 1), firing("CollectionRatioLow", ONSET + 20, 0)]
    assert promtool(artifacts, tmp_path, [lost], over) == ""
    down = up("redis", lambda second: 0 if ONSET <= second < ONSET + 6 else 1)
    assert promtool(artifacts, tmp_path, [down], [firing("CollectionRatioLow", s, 0) for s in range(ONSET, 80)]) == ""


def test_a_missing_target_is_missed_until_it_is_back(tmp_path: Path, artifacts: Mapping[str, Artifact]) -> None:
    """TargetMissing ends when the target is scraped again; a gap in the samples without staleness is not missing."""
    away = up("redis", lambda second: None if ONSET <= second < ONSET + 20 else 1)
    told = [firing("TargetMissing", ONSET + 18, 1), firing("TargetMissing", ONSET + 21, 0)]
    assert promtool(artifacts, tmp_path, [away], told) == ""
    values = up("redis", steady(1))["values"].split(" ")
    gap = " ".join("_" if ONSET <= second < ONSET + 20 else value for second, value in enumerate(values))
    restart = {**up("redis", steady(1)), "values": gap}
    never = [firing("TargetMissing", second, 0) for second in range(90)]
    assert promtool(artifacts, tmp_path, [restart], never) == ""


def test_the_watchdog_always_fires(tmp_path: Path, artifacts: Mapping[str, Artifact]) -> None:
    """From the first evaluation on, with no series at all."""
    assert promtool(artifacts, tmp_path, [], [firing("Watchdog", second, 1) for second in (0, 1, 60)]) == ""


class TestLogsNotCollected:
    """What is written and what is taken in, end to end."""

    def test_an_outage_that_is_caught_up_on_is_nobodys_alarm(
        self, tmp_path: Path, artifacts: Mapping[str, Artifact]
    ) -> None:
        """8 s without the store are 11 s without a record; where nothing comes any more it is told within 23 s."""
        never = [firing("LogsNotCollected", second, 0) for second in range(90)]
        through = [*written(10), taken_in(outage(11, late=2))]
        assert promtool(artifacts, tmp_path, through, never) == ""
        for_good = [firing("LogsNotCollected", second, 1) for second in range(ONSET + 20, 90)]
        assert promtool(artifacts, tmp_path, [*written(10), taken_in(outage(90))], for_good) == ""
        busy = [*written(10), taken_in(grows(30, 0))]
        assert promtool(artifacts, tmp_path, busy, for_good) == ""

    def test_without_its_hold_the_outage_would_be_told(self, tmp_path: Path, artifacts: Mapping[str, Artifact]) -> None:
        """The twin: half of the hold is too little."""
        hasty = sabotaged(
            tmp_path, "for: 10s\n        labels:\n          severity: warning\n          priority: high", "for: 5s"
        )
        never = [firing("LogsNotCollected", second, 0) for second in range(90)]
        through = [*written(10), taken_in(outage(11, late=2))]
        assert "exp:" in promtool(artifacts, tmp_path, through, never, hasty)

    def test_a_store_that_does_not_answer_has_taken_in_nothing(
        self, tmp_path: Path, artifacts: Mapping[str, Artifact]
    ) -> None:
        """Its figures are gone while its exporter tells so: an alarm, though not for 10 s of it."""
        for seconds, count in ((30, 1), (10, 0)):
            away = range(ONSET, ONSET + seconds)
            known = [
                taken_in(lambda second, away=away: None if second in away else 20 * second),  # type: ignore[misc]
                up("elasticsearch", steady(1)),
            ]
            seen = 'count(max_over_time(ALERTS{alertname="LogsNotCollected",alertstate="firing"}[40s])) or vector(0)'
            told = [number(seen, ONSET + 40, count)]
            assert promtool(artifacts, tmp_path, [*written(10), *known], told) == ""

    def test_an_exporter_that_is_gone_says_nothing_of_logs(
        self, tmp_path: Path, artifacts: Mapping[str, Artifact]
    ) -> None:
        """No figure and no word of the store: that is told by ExporterDown alone."""
        gone = [
            taken_in(lambda second: None if second >= ONSET else 20 * second),
            up("elasticsearch", level(1, 0)),
        ]
        told = [firing("LogsNotCollected", second, 0) for second in range(90)]
        told += [firing("ExporterDown", second, 1) for second in range(ONSET + 5, 90)]
        assert promtool(artifacts, tmp_path, [*written(10), *gone], told) == ""

    def test_the_first_records_need_a_moment(self, tmp_path: Path, artifacts: Mapping[str, Artifact]) -> None:
        """Traffic begins, and the first record is taken in 6 s later; where nobody writes nothing is missing."""
        never = [firing("LogsNotCollected", second, 0) for second in range(90)]
        begins = [
            series("log_records_written_total", grows(0, 10), log="application"),
            taken_in(lambda second: 10 * max(0, second - ONSET - 6)),
        ]
        assert promtool(artifacts, tmp_path, begins, never) == ""
        assert promtool(artifacts, tmp_path, [taken_in(steady(7))], never) == ""
        assert promtool(artifacts, tmp_path, [*written(0), taken_in(steady(7))], never) == ""
