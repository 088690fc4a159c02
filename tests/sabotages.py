"""Twenty ways to spoil monitoring that people have found by themselves, and what must be seen of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from harness.model.hops import Hop
from harness.model.verdicts import CellStatus, Outcome

CRITICAL = ("email", "sms", "slack", "discord", "push")
HIGH = ("email", "slack", "discord")

PROMETHEUS = "prometheus.yml"
ALERTMANAGER = "alertmanager.yml"
AVAILABILITY = "alerts/availability.rules.yml"


class Means(StrEnum):
    """What is done to the way of the alerts, beside what stands in files."""

    SINK_DROPS = "every tenth message of the alert is lost at Slack"
    EXPORTER_DOWN = "the cache's exporter is held down in every lane"
    MAIL_REFUSED = "the mail server refuses every message after DATA"
    SILENCED = "a silence of the alert was left behind"
    ALERTMANAGER_AWAY = "Alertmanager is away while the alert begins to fire"


@dataclass(frozen=True)
class Change:
    """One change to a file of the policies; `before` must stand in it exactly once."""

    file: str
    before: str
    after: str


@dataclass(frozen=True)
class Sabotage:
    """What is spoilt, and what must come of it.

    Args:
        name: what a table calls it.
        alert: the alert that is drilled.
        ends: channel at which it must not be heard well -> the hop at which its trail ends: before `notified` the
            message is lost, at `notified` nobody is told that it is over, None where every hop is reached and the
            message is wrong. Empty: nothing is spoilt that a person would notice.
        changes: what is changed in the policies.
        means: what is done beside that.
        status: the status of the cells at these channels.
        beside: further alerts that are drilled, and heard.
        controls: whether the negative controls are tried, too.
        injections: how often the alert is drilled, without its controls.
    """

    name: str
    alert: str
    ends: Mapping[str, Hop | None]
    changes: tuple[Change, ...] = ()
    means: Means | None = None
    status: CellStatus = CellStatus.BROKEN
    beside: tuple[str, ...] = ()
    controls: bool = False
    injections: int = 2

    def outcome(self, channel: str) -> Outcome:
        """What becomes of the trials at a channel that fail."""
        hop = self.ends[channel]
        return {None: Outcome.WRONG_CONTENT, Hop.NOTIFIED: Outcome.NOT_RESOLVED}.get(hop, Outcome.LOST)


def _at(hop: Hop | None, channels: Iterable[str]) -> Mapping[str, Hop | None]:
    return dict.fromkeys(channels, hop)


HEALTHY = (
    Sabotage("nothing is spoilt", "ServerDown", {}, controls=True),
    Sabotage("nothing is spoilt, Alertmanager is away for a moment", "ServerDown", {}, means=Means.ALERTMANAGER_AWAY),
)
"""The twins: what must be green, or heard in spite of all, on the same stack and by the same code."""

MENDED = Sabotage("all is mended", "ServerDown", {}, controls=True)
"""The last of all: as green as the first, so that nothing was red because the stack had worn out."""

SABOTAGES = (
    Sabotage(
        "route removed",
        "ServerDown",
        _at(Hop.RECEIVED, ["slack"]),
        (
            Change(
                ALERTMANAGER,
                '    - receiver: slack\n      matchers: [priority =~ "critical|high|medium|low"]\n',
                "",
            ),
        ),
    ),
    Sabotage(
        "wrong receiver",
        "ServerDown",
        _at(Hop.RECEIVED, ["sms"]),
        (
            Change(
                ALERTMANAGER,
                "    - receiver: sms\n      matchers: [priority = critical]\n",
                "    - receiver: nobody\n      matchers: [priority = critical]\n",
            ),
        ),
    ),
    Sabotage(
        "`continue` lost",
        "ServerDown",
        _at(Hop.RECEIVED, ["sms", "slack", "discord", "push"]),
        (
            Change(
                ALERTMANAGER,
                '      matchers: [priority =~ "critical|high|medium"]\n      continue: true\n',
                '      matchers: [priority =~ "critical|high|medium"]\n',
            ),
        ),
    ),
    Sabotage(
        "inhibition too wide",
        "ServerDown",
        _at(Hop.RECEIVED, CRITICAL),
        (
            Change(
                ALERTMANAGER,
                "target_matchers: [alertname = ErrorRatioCritical]",
                "target_matchers: [severity = critical]",
            ),
        ),
    ),
    Sabotage(
        "group_wait of 60 s",
        "ServerDown",
        _at(Hop.RECEIVED, CRITICAL),
        (Change(ALERTMANAGER, "  group_wait: 2s #", "  group_wait: 60s #"),),
    ),
    Sabotage(
        "group_interval of 5 min",
        "ServerDown",
        _at(Hop.NOTIFIED, CRITICAL),
        (Change(ALERTMANAGER, "  group_interval: 5s # how soon", "  group_interval: 5m # how soon"),),
    ),
    Sabotage(
        "title asks for a label that is not there",
        "ServerDown",
        # The short message says nowhere else which alert it is about: nobody can tell what it belongs to.
        {**_at(None, ["email", "slack", "discord"]), "sms": Hop.RECEIVED},
        (Change("notifications/title.tmpl", "{{ .CommonLabels.alertname }}", "{{ .CommonLabels.nope }}"),),
    ),
    Sabotage(
        "template that fails",
        "ServerDown",
        _at(None, ["slack"]),  # Alertmanager sends a Slack message whose text could not be made, without the text
        (
            Change(
                "notifications/slack.tmpl",
                '{{ range .Alerts.Firing }}{{ template "community.slack.alert" . }}',
                '{{ range .Alerts.Firing }}{{ template "community.slack.alerts" . }}',
            ),
        ),
    ),
    Sabotage(
        "threshold off",
        "HighErrorRatio",
        _at(Hop.VISIBLE, HIGH),
        (Change("alerts/errors.rules.yml", ") >= 0.05\n", ") >= 1.05\n"),),
        beside=("ServerDown",),
        controls=True,
    ),
    Sabotage(
        "rule file not loaded",
        "ServerDown",
        _at(Hop.VISIBLE, CRITICAL),
        (
            Change(
                PROMETHEUS,
                "  - alerts/*.rules.yml\n",
                "".join(
                    f"  - alerts/{name}.rules.yml\n"
                    for name in ("application", "availabilty", "errors", "host", "inhibition", "monitoring")
                ),
            ),
        ),
    ),
    Sabotage(
        "metric renamed",
        "CacheDown",
        _at(Hop.INJECTED, HIGH),
        (Change(AVAILABILITY, "expr: redis_up == 0", "expr: redis_instance_up == 0"),),
    ),
    Sabotage(
        "label renamed",
        "ServerDown",
        _at(Hop.RECEIVED, ["sms", "slack", "discord", "push"]),
        (
            Change(
                AVAILABILITY,
                "          priority: critical\n        annotations:\n          summary: The server of",
                "          urgency: critical\n        annotations:\n          summary: The server of",
            ),
        ),
    ),
    Sabotage(
        "`send_resolved: false`",
        "ServerDown",
        _at(Hop.NOTIFIED, ["slack"]),
        (
            Change(
                ALERTMANAGER,
                '      - channel: "#alerts"\n        send_resolved: true\n',
                '      - channel: "#alerts"\n        send_resolved: false\n',
            ),
        ),
    ),
    Sabotage(
        "sink that drops 10 %",
        "ServerDown",
        _at(Hop.RECEIVED, ["slack"]),
        means=Means.SINK_DROPS,
        status=CellStatus.FLAKY,
        injections=20,  # two are lost: 18 of 20 are no proof that it is below 95 %, and none that it is not
    ),
    Sabotage("exporter down", "CacheDown", _at(Hop.INJECTED, HIGH), means=Means.EXPORTER_DOWN),
    Sabotage("mail server that refuses", "ServerDown", _at(Hop.RECEIVED, ["email"]), means=Means.MAIL_REFUSED),
    Sabotage(
        "resend-delay of 5 min, Alertmanager away",
        "ServerDown",
        _at(Hop.FIRING, CRITICAL),
        (Change("units/prometheus.service", "--rules.alert.resend-delay=5s", "--rules.alert.resend-delay=5m"),),
        means=Means.ALERTMANAGER_AWAY,
    ),
    Sabotage(
        "Alertmanager's address wrong",
        "ServerDown",
        _at(Hop.FIRING, CRITICAL),
        (
            Change(
                PROMETHEUS,
                "        - targets: [alertmanager:9093]\n\nscrape_configs:",
                "        - targets: [alertmanager:9094]\n\nscrape_configs:",
            ),
        ),
    ),
    Sabotage(
        "`for` of 5 min",
        "ServerDown",
        _at(Hop.PENDING, CRITICAL),
        (
            Change(
                AVAILABILITY,
                "users wait and nobody knows.\n        for: 2s",
                "users wait and nobody knows.\n        for: 5m",
            ),
        ),
    ),
    Sabotage("silence left behind", "ServerDown", _at(Hop.RECEIVED, CRITICAL), means=Means.SILENCED),
)
"""Each of them is tried alone, on one stack; what it spoils is mended before the next."""
