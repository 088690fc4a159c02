"""The dead man's listener beside a real Alertmanager: heartbeats, their end, what a person hears of both."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from stack_doubles import until

from harness.drive.faults import Fault, LaneControl
from harness.drive.faults.alertmanager_crashed import AlertmanagerCrashed
from harness.drive.faults.alertmanager_down import AlertmanagerDown
from harness.drive.faults.heartbeat_refused import HeartbeatRefused
from harness.drive.faults.listener_crashed import ListenerCrashed
from harness.drive.faults.prometheus_crashed import PrometheusCrashed
from harness.drive.faults.prometheus_frozen import PrometheusFrozen
from harness.drive.faults.registry import FAULTS
from harness.drive.faults.reload_broken import ReloadBroken
from harness.errors import EffectNotProven, FaultError
from harness.model.events import ComponentRestarted, Payload
from harness.model.notifications import Notification, ReceivedAlert, Status
from harness.model.policy import Policies, rendered
from harness.model.stack import LANE_LABEL, SHARED, Artifact
from harness.model.time import Instant
from harness.observe.certificates import write_certificate
from harness.observe.channels import Channel, Sink
from harness.observe.channels.email import EmailChannel
from harness.observe.channels.registry import CHANNELS
from harness.observe.channels.slack import SlackChannel
from harness.observe.content import complaints
from harness.observe.far_ends import FarEnds
from harness.observe.inbox import Inbox
from harness.policy.parse.policies import load
from harness.policy.rewire.rewiring import rewire
from harness.stack.components.registry import COMPONENTS
from harness.stack.guard import Guard
from harness.stack.layout import Layout, lay_out
from harness.stack.probe import Answer, ask
from harness.stack.runtimes.process import ProcessRuntime
from harness.stack.stack import Stack

pytestmark = [pytest.mark.stack, pytest.mark.nightly]

SHIPPED = Path(__file__).parents[2] / "policies"
LISTENER = "dead-mans-listener"
ALERT = "DeadMansSwitch"
BOTH = ("email", "slack")
DEADLINE_SECONDS = 30.0
NOTIFYING = """\
route:
  receiver: nobody
  routes:
    - receiver: heartbeat
      matchers: [alertname = Watchdog]
      group_wait: 0s
      group_interval: 5s
      # Less than the interval: at the same length every second flush would find that it is not time yet.
      repeat_interval: 4s
receivers:
  - name: nobody
  - name: heartbeat
    webhook_configs: [{url: "http://dead-mans-listener:9095/heartbeat"}]
"""
"""Heartbeats every 5 s and nothing else: what speaks is the listener."""

WATCHING = """\
global: {scrape_interval: 2s, evaluation_interval: 1s}
rule_files: [watchdog.rules.yml]
alerting: {alertmanagers: [{static_configs: [{targets: ["alertmanager:9093"]}]}]}
scrape_configs: [{job_name: prometheus, static_configs: [{targets: ["prometheus:9090"]}]}]
"""
WATCHDOG = "groups: [{name: watchdog, rules: [{alert: Watchdog, expr: vector(1)}]}]\n"


@dataclass(frozen=True)
class Live:
    """Alertmanager and the listener as the policies have them, with sinks for e-mail and Slack."""

    stack: Stack
    policies: Policies
    inbox: Inbox
    written: list[Payload]

    @property
    def control(self) -> LaneControl:
        """What a fault of a shared part is given."""
        return self.stack.lane(SHARED)

    async def watch(self) -> None:
        """Hands Alertmanager the alert that always fires."""
        ends = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        alert = {"labels": {"alertname": "Watchdog", LANE_LABEL: SHARED}, "endsAt": ends}
        async with aiohttp.ClientSession() as session:
            url = f"http://{self.stack.address('alertmanager')}/api/v2/alerts"
            async with session.post(url, json=[alert]) as answer:
                assert answer.status == 200, await answer.text()

    async def figure(self, name: str) -> float:
        """One of the listener's own figures, asked past the relay."""
        answer = await ask(self.stack.layout.site(LISTENER).address, "/metrics")
        assert isinstance(answer, Answer)
        return next(float(line.split()[1]) for line in answer.body.splitlines() if line.startswith(f"{name} "))

    async def beats(self, count: float) -> None:
        """Waits until so many heartbeats came."""
        async with asyncio.timeout(4 * DEADLINE_SECONDS):
            while await self.figure("dead_mans_listener_heartbeats_total") < count:  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    def restarts(self) -> list[tuple[str, bool]]:
        """Who was started again, and whether a fault had held it down."""
        return [(one.name, one.held) for one in self.written if isinstance(one, ComponentRestarted)]

    async def heard(self, status: Status, since: float) -> frozenset[str]:
        """Who heard of the silence of what all share, or of its end."""
        return await self.inbox.heard(ALERT, SHARED, BOTH, status, since, time.monotonic() + DEADLINE_SECONDS)

    def complaints(self, message: Notification) -> tuple[str, ...]:
        """What its reader would miss."""
        alert = self.policies.alert(ALERT)
        labels = {**alert.labels, "alertname": ALERT, LANE_LABEL: SHARED}
        annotations = {name: rendered(text, labels) for name, text in alert.annotations.items()}
        return complaints(message, [ReceivedAlert(labels, annotations, 0.0, None, Instant.now())])


def shipped(*kinds: str) -> Policies:
    """The project's own, of these kinds alone, with an Alertmanager that does nothing but beat."""
    policies = load(
        SHIPPED,
        faults=[fault.id for fault in FAULTS],
        channels={channel.name: channel.receiver_key for channel in CHANNELS},
        components=[component.kind for component in COMPONENTS],
    ).policies
    return replace(
        policies,
        components=tuple(one for one in policies.components if one.kind in kinds),
        documents={
            **policies.documents,
            policies.alertmanager_file: NOTIFYING,
            policies.prometheus_file: WATCHING,
            "watchdog.rules.yml": WATCHDOG,
        },
    )


@asynccontextmanager
async def standing(folder: Path, artifacts: Mapping[str, Artifact], *more: str) -> AsyncIterator[Live]:
    """Alertmanager, the listener and more kinds up, the copy rewired as a run rewires it."""
    policies, written = shipped("alertmanager", LISTENER, *more), list[Payload]()
    channels: tuple[Channel, ...] = (EmailChannel(), SlackChannel())
    inbox = Inbox(written.append, channels)
    certificate = write_certificate(folder / "certificates")
    trust = {"SSL_CERT_FILE": str(certificate.authority)}
    async with AsyncExitStack() as exits:
        guard = await exits.enter_async_context(Guard.open(f"test-{time.monotonic_ns()}", folder))
        sinks: dict[str, Sink] = {
            channel.name: await exits.enter_async_context(channel.open(certificate, inbox.deliver, inbox.refuse))
            for channel in channels
        }
        layout: Layout = lay_out(
            policies,
            artifacts,
            (),
            run=guard.run,
            sandbox=guard.sandbox,
            logs=folder / "logs",
            cache=folder,
            environment={"alertmanager": trust, LISTENER: trust},
        )
        copy = rewire(policies, layout.sandbox([sink.binding for sink in sinks.values()]))
        stack = await exits.enter_async_context(
            Stack(layout, ProcessRuntime(guard), written.append, channels=FarEnds(sinks))
        )
        await stack.up(copy.files)
        yield Live(stack, policies, inbox, written)


async def test_a_silence_is_heard_and_its_end_too(tmp_path: Path, artifacts: Mapping[str, Artifact]) -> None:
    """Heartbeats flow and nobody says a word; refused in their path, both channels hear within 30 s; restored, too."""
    fault = HeartbeatRefused()
    async with standing(tmp_path, artifacts) as live:
        await live.watch()
        began = time.monotonic()
        await live.beats(4)
        assert time.monotonic() - began < 3 * 5 + 3, "a heartbeat comes every 5 s"
        assert not live.inbox.notifications
        await fault.apply(live.control)
        refused = await fault.prove(live.control, 2)
        assert await live.heard(Status.FIRING, refused.at) == set(BOTH)
        healing = time.time()
        await fault.undo(live.control, 5)
        assert await live.heard(Status.RESOLVED, healing) == set(BOTH)
        told = live.inbox.notifications
        assert sorted((one.channel, one.status) for one in told) == [
            (channel, status) for channel in BOTH for status in (Status.FIRING, Status.RESOLVED)
        ]
        for message in told:
            assert message.receiver == LISTENER
            assert live.complaints(message) == ()


async def test_a_prometheus_that_hangs_is_heard_of(tmp_path: Path, artifacts: Mapping[str, Artifact]) -> None:
    """Alertmanager is well and hears nothing more: it says that the watchdog is resolved, and the listener speaks."""
    fault = PrometheusFrozen()
    async with standing(tmp_path, artifacts, "prometheus") as live:
        await live.beats(2)
        assert not live.inbox.notifications
        await fault.apply(live.control)
        frozen = await fault.prove(live.control, 5)
        assert await live.heard(Status.FIRING, frozen.at) == set(BOTH)
        healing = time.time()  # what is healed may be heard before we have seen it
        await fault.undo(live.control, 15)
        assert await live.heard(Status.RESOLVED, healing) == set(BOTH)


async def test_a_prometheus_that_crashed_works_again_without_a_word(
    tmp_path: Path, artifacts: Mapping[str, Artifact]
) -> None:
    """Its unit brings it back before the watchdog is over: seen to be gone, seen to work again, and nobody is woken."""
    fault = PrometheusCrashed()
    async with standing(tmp_path, artifacts, "prometheus") as live:
        await live.beats(1)
        await fault.apply(live.control)
        crashed = await fault.prove(live.control, 3)
        assert (await fault.undo(live.control, 20)).at > crashed.at + 4, "it works when it has found its targets"
        assert live.restarts() == [("prometheus", False)]
        await live.beats(await live.figure("dead_mans_listener_heartbeats_total") + 2)
        assert not live.inbox.notifications


async def test_faults_of_its_parts_prove_themselves_and_are_undone(
    tmp_path: Path, artifacts: Mapping[str, Artifact]
) -> None:
    """Alertmanager down, crashed and with a broken file, the listener crashed: seen, and healed by real programs."""
    async with standing(tmp_path, artifacts) as live:
        faults: tuple[Fault, ...] = (ReloadBroken(), AlertmanagerDown(), AlertmanagerCrashed(), ListenerCrashed())
        # A process that has only just started may be another one: its age is told in whole seconds.
        started = await live.figure("process_start_time_seconds")
        await until(lambda: time.time() > started + 2)
        for fault in faults:
            with pytest.raises(EffectNotProven):
                await fault.prove(live.control, 0.1)
        for fault in faults:
            begun = time.time()
            await fault.apply(live.control)
            proof = await fault.prove(live.control, 3)
            assert begun < proof.at, fault.id
            assert (await fault.undo(live.control, 10)).at > proof.at, fault.id
        expected = [("alertmanager", True), ("alertmanager", False), (LISTENER, False)]
        await until(lambda: live.restarts() == expected)


async def test_a_broken_file_is_put_back_as_it_was(tmp_path: Path, artifacts: Mapping[str, Artifact]) -> None:
    """Spoilt twice and mended twice: the same bytes, readable by nobody else, nothing left beside them."""
    async with standing(tmp_path, artifacts) as live:
        file = live.stack.layout.configuration / "alertmanager.yml"
        before = file.read_text()
        for _ in range(2):
            await live.control.spoil_configuration("alertmanager")
        assert file.read_text().startswith(before)
        assert file.read_text() != before
        for _ in range(2):
            await live.control.mend_configuration("alertmanager")
        assert file.read_text() == before
        assert file.stat().st_mode & 0o777 == 0o600
        assert [one.name for one in file.parent.glob("alertmanager*")] == ["alertmanager.yml"]
        with pytest.raises(FaultError, match="no configuration that it loads again"):
            await live.control.spoil_configuration(LISTENER)
