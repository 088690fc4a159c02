"""The dead man's listener: when it speaks, what it says, and that it says so until it is heard."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from stack_doubles import until

from harness.errors import PolicyError, UsageError
from harness.model.notifications import Notification, RawMessage, ReceivedAlert, Status
from harness.model.policy import rendered
from harness.model.stack import Address
from harness.model.time import Instant
from harness.observe.attribution import speaks_of
from harness.observe.certificates import write_certificate
from harness.observe.channels import Channel
from harness.observe.channels.discord import DiscordChannel
from harness.observe.channels.email import EmailChannel
from harness.observe.channels.slack import SlackChannel
from harness.observe.content import complaints
from harness.policy.parse.dead_man import DeadMan, Email, Secret, parse
from harness.stack.listener import speaker as speaking
from harness.stack.listener.__main__ import read, senders
from harness.stack.listener.app import Listener
from harness.stack.listener.metrics import Metrics
from harness.stack.listener.senders import DiscordSender, MailSender, SlackSender, Undelivered
from harness.stack.listener.speaker import Speaker
from harness.stack.listener.vigil import News, State, Vigil
from harness.stack.listener.words import Message

SHIPPED = Path(__file__).parents[2] / "policies" / "dead-man.yaml"
ALERT = "DeadMansSwitch"


def shipped() -> DeadMan:
    """What the project's own policies say."""
    found = parse(SHIPPED.read_text(encoding="utf-8"), "dead-man.yaml").value
    assert found is not None
    return found


def message(*, firing: bool = True, repeated: bool = False) -> Message:
    """A message of the shipped listener."""
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    return Message.make(shipped().alert, now, None if firing else now + timedelta(minutes=5), repeated=repeated)


class TestVigil:
    """When it is time to speak; a clock that only the test turns."""

    def test_it_speaks_after_the_silence_and_not_before(self) -> None:
        """Silence counts from the last heartbeat; once told, it is not told again before the repeat."""
        vigil = Vigil(12, 60, 3600, now=0)
        assert vigil.beat(1) is None
        assert [vigil.look(now) for now in (2, 4, 6, 8, 10, 12, 12.9)] == [None] * 7
        assert vigil.state is State.WELL
        assert vigil.look(13) is News.FIRING
        assert (vigil.look(13.25), vigil.state) == (None, State.SILENT)

    def test_every_heartbeat_begins_the_silence_anew(self) -> None:
        """As long as they come in time nothing is said."""
        vigil = Vigil(12, 60, 3600, now=0)
        said = []
        for now in range(200):
            if now % 5 == 0:
                said.append(vigil.beat(now))
            said.append(vigil.look(now))
        assert set(said) == {None}

    def test_the_first_heartbeat_has_its_grace(self) -> None:
        """A listener that has just started blames nobody for the grace, and does after it."""
        vigil = Vigil(12, 60, 3600, now=0)
        looks = {now: vigil.look(now) for now in range(62)}
        assert {now for now, said in looks.items() if said is not None} == {60}
        assert looks[60] is News.FIRING

    def test_the_end_of_the_silence_is_told_once(self) -> None:
        """The first heartbeat after it resolves, the second says nothing."""
        vigil = Vigil(12, 1, 3600, now=0)
        assert vigil.look(1) is News.FIRING
        assert vigil.beat(2) is News.RESOLVED
        assert (vigil.beat(3), vigil.state) == (None, State.WELL)

    def test_a_silence_that_lasts_is_told_again(self) -> None:
        """Every repeat, as long as it lasts."""
        vigil = Vigil(12, 1, 10, now=0)
        told = [now for now in range(1, 35) if vigil.look(now) is not None]
        assert told == [1, 11, 21, 31]

    def test_a_watchdog_that_ended_is_a_silence_at_once(self) -> None:
        """Alertmanager says itself that Prometheus is gone: nobody waits for the rest of the silence."""
        vigil = Vigil(12, 60, 3600, now=0)
        vigil.beat(1)
        vigil.ended(2)
        assert vigil.look(2) is News.FIRING
        vigil.ended(3)
        assert vigil.look(3) is None

    def test_who_did_not_look_blames_nobody(self) -> None:
        """A process that was stopped finds the beats at its door; only what it looked at counts as silence."""
        vigil = Vigil(12, 60, 3600, now=0)
        vigil.beat(0)
        vigil.look(1)
        assert vigil.look(31) is None
        assert [now for now in range(32, 60) if vigil.look(now) is not None] == [42]


class TestWords:
    """What a person reads, read as the sinks read it."""

    def read(self, channel: str, body: str) -> Notification:
        """A body as its channel shows it."""
        channels: dict[str, Channel] = {
            "email": EmailChannel(),
            "slack": SlackChannel(),
            "discord": DiscordChannel(),
        }
        envelope = {"recipients": "oncall@example.com"}
        return channels[channel].read(RawMessage("1", channel, "dead-mans-listener", Instant.now(), envelope, body))

    def bodies(self, said: Message) -> dict[str, str]:
        """The message in every channel's form."""
        return {
            "email": said.mail("alerts@example.com", ["oncall@example.com"]).as_string(),
            "slack": json.dumps(said.slack("#alerts")),
            "discord": json.dumps(said.discord()),
        }

    @pytest.mark.parametrize(("firing", "status"), [(True, Status.FIRING), (False, Status.RESOLVED)])
    @pytest.mark.parametrize("channel", ["email", "slack", "discord"])
    def test_it_says_what_its_reader_needs(self, channel: str, firing: bool, status: Status) -> None:
        """Title, summary, description, severity and runbook, for the environment that the policy names."""
        said = message(firing=firing)
        notification = self.read(channel, self.bodies(said)[channel])
        alert = said.alert
        told = {name: rendered(text, alert.labels) for name, text in alert.annotations.items()}
        labels = {"alertname": alert.name, **alert.labels}
        assert complaints(notification, [ReceivedAlert(labels, told, 0.0, None, Instant.now())]) == ()
        assert notification.status is status
        assert notification.title == f"[{status.value.upper()}] {ALERT} production (critical)"
        assert speaks_of(notification, ALERT, "production")
        assert not speaks_of(notification, ALERT, "shared")

    def test_a_message_that_lacks_something_is_complained_of(self) -> None:
        """The twin: the judge of the test above sees what is missing."""
        poor = replace(shipped().alert, annotations={**shipped().alert.annotations, "summary": "another"})
        said = replace(message(), alert=poor)
        alert = shipped().alert
        told = {name: rendered(text, alert.labels) for name, text in alert.annotations.items()}
        received = ReceivedAlert({"alertname": ALERT, **alert.labels}, told, 0.0, None, Instant.now())
        for channel, body in self.bodies(said).items():
            assert [one for one in complaints(self.read(channel, body), [received]) if "summary" in one]

    def test_signs_are_not_markup(self) -> None:
        """Less-than, ampersand and quotes arrive as they were written, in HTML and in Slack."""
        odd = 'a < b & "c"'
        alert = replace(shipped().alert, annotations={**shipped().alert.annotations, "description": odd})
        said = replace(message(), alert=alert)
        for channel, body in self.bodies(said).items():
            assert odd in self.read(channel, body).text

    def test_a_mail_sent_twice_is_the_same_mail(self) -> None:
        """Its Message-ID stays, and another message has another."""
        said = message()
        first, second = (said.mail("a@example.com", ["b@example.com"])["Message-ID"] for _ in range(2))
        assert first == second
        assert message().mail("a@example.com", ["b@example.com"])["Message-ID"] != first
        mail = message_from_bytes(bytes(said.mail("a@example.com", ["b@example.com"])), policy=policy.default)
        assert [part.get_content_type() for part in mail.walk()] == ["multipart/alternative", "text/plain", "text/html"]


@dataclass
class Sink:
    """A channel that fails as often as it is told to, and notes what it took."""

    failures: list[Undelivered] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)
    tries: int = 0

    async def send(self, message: Message) -> None:
        """Takes it, or raises the next failure."""
        self.tries += 1
        if self.failures:
            raise self.failures.pop(0)
        self.taken.append(("again " if message.repeated else "") + message.title.split("]")[0].strip("["))


@asynccontextmanager
async def running(*works: Callable[[], Coroutine[object, object, None]]) -> AsyncIterator[None]:
    """Runs coroutines beside the test."""
    tasks = [asyncio.create_task(work()) for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class TestSpeaker:
    """A channel's voice."""

    @pytest.fixture(autouse=True)
    def soon(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Tries again at once."""
        monkeypatch.setattr(speaking, "FIRST_PAUSE_SECONDS", 0.005)

    async def test_it_tries_until_the_message_was_taken(self) -> None:
        """Failures are counted, the order stays, and what is over is still told after what began it."""
        sink, metrics = Sink([Undelivered("no"), Undelivered("no"), Undelivered("no")]), Metrics()
        speaker = Speaker("email", sink, metrics)
        async with running(speaker.run):
            speaker.say(message())
            speaker.say(message(firing=False))
            await until(lambda: len(sink.taken) == 2)
        assert sink.taken == ["FIRING", "RESOLVED"]
        assert sink.tries == 5
        shown = metrics.exposition().decode()
        assert 'dead_mans_listener_messages_delivered_total{channel="email"} 2.0' in shown
        assert 'dead_mans_listener_sends_failed_total{channel="email"} 3.0' in shown
        assert 'dead_mans_listener_messages_waiting{channel="email"} 0.0' in shown

    async def test_a_repeat_is_not_queued_behind_what_was_not_heard(self) -> None:
        """An hour without a mail server does not become a stack of the same mail; heard once, it is repeated."""
        sink = Sink([Undelivered("no")] * 3)
        speaker = Speaker("email", sink, Metrics())
        speaker.say(message())
        speaker.say(message(repeated=True))
        async with running(speaker.run):
            await until(lambda: sink.taken == ["FIRING"])
            speaker.say(message(repeated=True))
            await until(lambda: sink.taken == ["FIRING", "again FIRING"])

    async def test_it_waits_as_long_as_it_was_asked_to(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A service that wants fewer messages gets them later, within bounds."""
        slept: list[float] = []

        async def sleep(seconds: float) -> None:
            slept.append(seconds)

        monkeypatch.setattr(asyncio, "sleep", sleep)
        sink = Sink([Undelivered("no", 7.0), Undelivered("no", 9999.0), Undelivered("no")])
        await Speaker("slack", sink, Metrics())._deliver(message())
        assert slept == [7.0, 60.0, pytest.approx(0.02)]

    async def test_a_deaf_channel_does_not_hold_up_another(self) -> None:
        """One channel never answers; the other has heard meanwhile."""

        class Deaf(Sink):
            async def send(self, message: Message) -> None:  # noqa: ARG002
                self.tries += 1
                await asyncio.Event().wait()

        deaf, well, metrics = Deaf(), Sink(), Metrics()
        speakers = [Speaker("email", deaf, metrics), Speaker("slack", well, metrics)]
        listener = Listener(replace(shipped(), grace=timedelta(milliseconds=1)), speakers, metrics)
        async with running(listener.run):
            await until(lambda: well.taken == ["FIRING"])
        assert (deaf.tries, deaf.taken) == (1, [])


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[Address]:
    """An application on a free port."""
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield Address(*runner.addresses[0])
    finally:
        await runner.cleanup()


def heartbeat(status: str = "firing", alert: str = "Watchdog") -> dict[str, object]:
    """What Alertmanager posts."""
    return {"version": "4", "status": status, "alerts": [{"status": status, "labels": {"alertname": alert}}]}


async def post(address: Address, body: object) -> int:
    """The status by which a post to /heartbeat is answered."""
    data = body if isinstance(body, str) else json.dumps(body)
    async with aiohttp.ClientSession() as session, session.post(f"http://{address}/heartbeat", data=data) as answer:
        return answer.status


class TestListener:
    """Its endpoints, and what follows from them."""

    async def test_heartbeats_that_stop_are_told_and_their_return_too(self) -> None:
        """The whole way, with a silence of 300 ms: nothing while they come, FIRING after, RESOLVED at their return."""
        sink, metrics = Sink(), Metrics()
        settings = replace(shipped(), silence=timedelta(milliseconds=300))
        listener = Listener(settings, [Speaker("email", sink, metrics)], metrics)
        async with serving(listener.application()) as address, running(listener.run):
            assert await post(address, heartbeat()) == 200
            assert listener.state is State.WELL
            await until(lambda: sink.taken == ["FIRING"])
            assert "dead_mans_listener_silent 1.0" in metrics.exposition().decode()
            assert await post(address, heartbeat()) == 200
            await until(lambda: sink.taken == ["FIRING", "RESOLVED"])
            shown = metrics.exposition().decode()
        assert "dead_mans_listener_heartbeats_total 2.0" in shown
        assert "process_start_time_seconds" in shown

    async def test_a_watchdog_that_is_resolved_is_told_at_once(self) -> None:
        """With a silence of hours."""
        sink, metrics = Sink(), Metrics()
        settings = replace(shipped(), silence=timedelta(hours=3))
        listener = Listener(settings, [Speaker("email", sink, metrics)], metrics)
        async with serving(listener.application()) as address, running(listener.run):
            assert await post(address, heartbeat()) == 200
            assert await post(address, heartbeat("resolved")) == 200
            await until(lambda: sink.taken == ["FIRING"])

    @pytest.mark.parametrize(
        "body",
        [
            heartbeat(alert="ServerDown"),
            heartbeat("unheard of"),
            {"alerts": "none"},
            {"alerts": [1, {"labels": 2}]},
            [],
            "{",
            "[" * 100_000,
        ],
        ids=["another alert", "another status", "no alerts", "odd alerts", "a list", "half", "deep"],
    )
    async def test_what_is_no_heartbeat_does_not_count(self, body: object) -> None:
        """It is refused for good, counted, and the listener still waits."""
        metrics = Metrics()
        listener = Listener(shipped(), [], metrics)
        async with serving(listener.application()) as address:
            assert await post(address, body) == 422
        assert listener.state is State.WAITING
        assert "dead_mans_listener_refused_total 1.0" in metrics.exposition().decode()


class TestSenders:
    """One message, taken or not; a reason never holds a secret."""

    @pytest.mark.parametrize("status", [400, 429, 500, 302])
    async def test_an_answer_that_is_not_ok_is_no_delivery(self, status: int) -> None:
        """Whatever it says; what it asks to wait is passed on."""

        async def answer(_: web.Request) -> web.Response:
            return web.Response(status=status, headers={"Retry-After": "3"} if status == 429 else {})

        app = web.Application()
        app.router.add_post("/secret", answer)
        async with serving(app) as address:
            for sender in (SlackSender(f"http://{address}/secret", ""), DiscordSender(f"http://{address}/secret")):
                with pytest.raises(Undelivered, match=f"answered {status}") as told:
                    await sender.send(message())
                assert told.value.wait_seconds == (3.0 if status == 429 else 0.0)

    async def test_nobody_there_is_told_without_the_url(self) -> None:
        """A webhook's URL is its credential."""
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            port = nobody.getsockname()[1]
            with pytest.raises(Undelivered) as told:
                await SlackSender(f"http://127.0.0.1:{port}/hidden", "#a").send(message())
            settings = Email(f"127.0.0.1:{port}", "a@example.com", ("b@example.com",), "u", Secret("hidden", ""))
            with pytest.raises(Undelivered, match="ConnectionRefusedError") as refused:
                await MailSender(settings, "hidden").send(message())
        assert "hidden" not in f"{told.value} {refused.value}"

    async def test_a_mail_server_that_is_not_trusted_gets_nothing(self, tmp_path: Path) -> None:
        """Its certificate is checked before the password is said; with the authority the mail is taken."""
        taken: list[RawMessage] = []
        certificate = write_certificate(tmp_path)
        async with EmailChannel().open(certificate, taken.append, lambda *_: None) as sink:
            settings = sink.binding.settings
            email = Email(
                settings["smarthost"],
                "Alerts <a@example.com>",
                ("b@example.com", "c@example.com"),
                settings["auth_username"].replace("{receiver}", "dead-mans-listener"),
                Secret(settings["auth_password"], ""),
            )
            sender = MailSender(email, email.password.value)
            with pytest.raises(Undelivered, match="CERTIFICATE_VERIFY_FAILED"):
                await sender.send(message())
            assert taken == []
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("SSL_CERT_FILE", str(certificate.authority))
                await sender.send(message())
                with pytest.raises(Undelivered, match="535") as told:
                    await MailSender(email, "wrong").send(message())
        assert "wrong" not in str(told.value)
        assert [(one.receiver, one.envelope["recipients"]) for one in taken] == [
            ("dead-mans-listener", "b@example.com, c@example.com")
        ]


class TestProcess:
    """The program from outside."""

    async def test_it_starts_answers_and_ends(self, tmp_path: Path) -> None:
        """From its file and flags to /health; SIGTERM ends it with code 0."""
        config = tmp_path / "dead-man.yaml"
        config.write_text(SHIPPED.read_text().replace("/etc/tocsin/secrets", str(tmp_path)))
        for name in ("smtp-password", "slack-webhook-url", "discord-webhook-url"):
            (tmp_path / name).write_text(f"http://127.0.0.1/{name}\n")
        with socket.create_server(("127.0.0.1", 0)) as free:
            address = Address(*free.getsockname())
        process = await asyncio.create_subprocess_exec(*program(config, address), stderr=subprocess.PIPE)
        try:
            async with asyncio.timeout(20), aiohttp.ClientSession() as session:
                while True:
                    assert process.returncode is None, await process.communicate()
                    with contextlib.suppress(aiohttp.ClientConnectionError):
                        async with session.get(f"http://{address}/health") as answer:
                            assert await answer.json() == {"status": "alive", "heartbeats": "waiting"}
                            break
                    await asyncio.sleep(0.02)
            process.terminate()
            async with asyncio.timeout(5):
                assert await process.wait() == 0
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.communicate()

    def test_a_mistake_in_its_file_is_told_with_its_place(self, tmp_path: Path) -> None:
        """Exit code 2, file, line and column, and what was most likely meant."""
        config = tmp_path / "dead-man.yaml"
        config.write_text(SHIPPED.read_text().replace("silence: 12s", "silense: 12s"))
        done = subprocess.run(
            program(config, Address("127.0.0.1", 1)), capture_output=True, text=True, check=False, timeout=60
        )
        line = next(n for n, text in enumerate(config.read_text().splitlines(), 1) if text.startswith("silense"))
        assert done.returncode == 2
        assert f"{config}:{line}:1: error: unknown key 'silense'" in done.stderr
        assert "did you mean 'silence'?" in done.stderr
        assert "Traceback" not in done.stderr

    def test_what_cannot_be_read_is_told(self, tmp_path: Path) -> None:
        """Its file, or the file of a secret, by name."""
        with pytest.raises(UsageError, match="cannot be read from"):
            read(tmp_path / "nowhere.yaml")
        with pytest.raises(UsageError, match="secret of the dead man's listener cannot be read from /etc/tocsin"):
            senders(shipped())
        empty = tmp_path / "empty.yaml"
        empty.write_text("")
        with pytest.raises(PolicyError, match="empty"):
            read(empty)


def program(config: Path, address: Address) -> Sequence[str]:
    """Its command line."""
    return (
        sys.executable,
        "-m",
        "harness.stack.listener",
        f"--config.file={config}",
        f"--web.listen-address={address}",
    )
