"""The recording proxy sees every alert that Alertmanager is handed, and nobody notices that it is there."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import statistics
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiohttp import ClientSession, web
from multidict import CIMultiDictProxy
from yarl import URL

from harness.model.events import Payload, Progress
from harness.model.notifications import AlertReceived, ReceivedAlert
from harness.model.stack import Address
from harness.model.time import Instant, rfc3339
from harness.observe.recorder import NotAlerts, Recorder, read_alerts


@dataclass
class Fake:
    """An Alertmanager that takes everything and remembers it."""

    requests: list[tuple[str, str, CIMultiDictProxy[str], bytes]] = field(default_factory=list)
    seen_at: list[float] = field(default_factory=list)
    called: asyncio.Event = field(default_factory=asyncio.Event)
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b"{}"
    answer: asyncio.Event | None = None

    async def handle(self, request: web.BaseRequest) -> web.Response:
        """Takes one request and answers as it was told."""
        self.requests.append((request.method, request.raw_path, request.headers, await request.content.read()))
        self.seen_at.append(time.monotonic())
        self.called.set()
        if self.answer is not None:
            await self.answer.wait()
        return web.Response(status=self.status, headers=self.headers, body=self.body)

    @asynccontextmanager
    async def listening(self, port: int = 0) -> AsyncIterator[Address]:
        """Listens on loopback until it is left."""
        runner = web.ServerRunner(web.Server(self.handle, auto_decompress=False), shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", port, reuse_address=True).start()
            yield Address("127.0.0.1", runner.addresses[0][1])
        finally:
            await runner.cleanup()


def posted(
    name: str = "ServerDown", *, start: float = -5.0, end: float | None = 20.0, **labels: str
) -> dict[str, object]:
    """An alert as Prometheus posts it; times count from now."""
    now = time.time()
    return {
        "labels": {"alertname": name, **labels},
        "annotations": {"summary": "The server does not respond"},
        "startsAt": rfc3339(now + start),
        "endsAt": "0001-01-01T00:00:00Z" if end is None else rfc3339(now + end),
        "generatorURL": "http://prometheus/graph",
    }


def received(events: Sequence[Payload]) -> list[ReceivedAlert]:
    """The alerts among the events."""
    return [event.alert for event in events if isinstance(event, AlertReceived)]


def notes(events: Sequence[Payload]) -> list[str]:
    """The notes among the events."""
    return [event.text for event in events if isinstance(event, Progress)]


async def post(address: Address, alerts: object, path: str = "/api/v2/alerts") -> int:
    """Posts alerts as Prometheus does; the status of the answer."""
    async with ClientSession() as session, session.post(f"http://{address}{path}", json=alerts) as answer:
        await answer.read()
        return answer.status


async def test_requests_and_answers_pass_unchanged() -> None:
    """Method, path with its escapes, query, headers and compressed bodies arrive as they were sent, both ways."""
    target = "/am/a%2Fb?filter=x%3D%22y%22&x=1"
    compressed = gzip.compress(b'{"ok": true}')
    fake = Fake(status=207, headers={"Content-Type": "application/json", "Content-Encoding": "gzip", "X-Of": "am"})
    fake.body = compressed
    async with fake.listening() as upstream, Recorder.open(upstream, print) as recorder:
        async with (
            ClientSession(auto_decompress=False) as session,
            session.put(
                URL(f"http://{recorder.address}{target}", encoded=True),
                data=compressed,
                headers={"Content-Encoding": "gzip", "User-Agent": "Prometheus/2.53.3", "X-From": "prometheus"},
                skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type"),
            ) as answer,
        ):
            assert answer.status == 207
            assert await answer.read() == compressed
            headers = answer.headers
        ((method, path, sent, body),) = fake.requests
    assert (method, path, body) == ("PUT", target, compressed)
    assert {name: value for name, value in sent.items() if name != "Connection"} == (
        {
            "Host": str(recorder.address),
            "Content-Encoding": "gzip",
            "User-Agent": "Prometheus/2.53.3",
            "X-From": "prometheus",
            "Content-Length": str(len(compressed)),
        }
    )
    assert {name: headers[name] for name in fake.headers} == fake.headers
    assert headers["Content-Length"] == str(len(compressed))


async def test_a_value_that_drifts_is_recorded_again() -> None:
    """A message is composed from the newest annotations, so each change of them is a line; a mere resend is none."""
    events: list[Payload] = []
    one = posted()
    drifted = {**one, "annotations": {"summary": "12 % of requests fail"}}
    async with Fake().listening() as upstream, Recorder.open(upstream, events.append) as recorder:
        for alert in (one, one, drifted, drifted):
            await post(recorder.address, [alert])
    assert [alert.annotations["summary"] for alert in received(events)] == [
        "The server does not respond",
        "12 % of requests fail",
    ]


async def test_an_alert_is_recorded_as_it_was_posted() -> None:
    """Labels, annotations and times are those of the post; an end that is still to come means firing."""
    events: list[Payload] = []
    alert = posted(environment="lane-1")
    fake = Fake()
    before = Instant.now()
    async with fake.listening() as upstream, Recorder.open(upstream, events.append) as recorder:
        assert await post(recorder.address, [alert]) == 200
    (seen,) = received(events)
    assert seen.labels == {"alertname": "ServerDown", "environment": "lane-1"}
    assert seen.annotations == {"summary": "The server does not respond"}
    assert rfc3339(seen.starts_at) == alert["startsAt"]
    assert seen.ends_at is not None
    assert rfc3339(seen.ends_at) == alert["endsAt"]
    assert not seen.resolved
    assert before.wall <= seen.received.wall <= time.time()
    assert before.monotonic <= seen.received.monotonic <= time.monotonic()
    assert json.loads(fake.requests[0][3]) == [alert]


async def test_only_what_is_new_is_recorded() -> None:
    """Resends of a firing alert are silent; another alert, a resolve and the next firing are not."""
    events: list[Payload] = []
    one, other = posted(environment="lane-1"), posted(environment="lane-2")
    later = {**one, "endsAt": rfc3339(time.time() + 60)}
    over = {**one, "endsAt": rfc3339(time.time() - 1)}
    again = {**posted(environment="lane-1", start=-0.5), "labels": one["labels"]}
    async with Fake().listening() as upstream, Recorder.open(upstream, events.append) as recorder:
        for alerts in ([one], [one, other], [later, other], [over], [over], [again], [again, other]):
            await post(recorder.address, alerts)
    assert [(alert.labels["environment"], alert.resolved) for alert in received(events)] == [
        ("lane-1", False),
        ("lane-2", False),
        ("lane-1", True),
        ("lane-1", False),
    ]


async def test_the_stamp_is_of_the_last_byte_and_before_the_passing_on() -> None:
    """A slow post is stamped when it is complete; a slow Alertmanager does not move the stamp."""
    events: list[Payload] = []
    fake = Fake(answer=asyncio.Event())
    assert fake.answer is not None
    body = json.dumps([posted()]).encode()
    async with fake.listening() as upstream, Recorder.open(upstream, events.append) as recorder:
        reader, writer = await asyncio.open_connection(recorder.address.host, recorder.address.port)
        head = f"POST /api/v2/alerts HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body[:-1])
        await writer.drain()
        await asyncio.sleep(0.08)
        last_byte = time.monotonic()
        writer.write(body[-1:])
        async with asyncio.timeout(5):
            await fake.called.wait()
        assert received(events) == []  # not yet: Alertmanager has not taken it
        await asyncio.sleep(0.08)
        fake.answer.set()
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        writer.close()
        await writer.wait_closed()
    (seen,) = received(events)
    assert last_byte <= seen.received.monotonic <= fake.seen_at[0]


@pytest.mark.parametrize("path", ["/api/v2/alerts", "/alertmanager/api/v2/alerts", "/api/v2/alerts?x=1"])
async def test_alerts_are_seen_below_any_prefix(path: str) -> None:
    """An Alertmanager with a path prefix is recorded too."""
    events: list[Payload] = []
    fake = Fake()
    async with fake.listening() as upstream, Recorder.open(upstream, events.append) as recorder:
        await post(recorder.address, [posted()], path)
    assert len(received(events)) == 1
    assert fake.requests[0][1] == path


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/api/v2/alerts"), ("POST", "/api/v2/silences"), ("POST", "/-/reload")]
)
async def test_nothing_else_is_taken_for_alerts(method: str, path: str) -> None:
    """The twin: reading alerts, silencing and reloading pass through and leave no trace."""
    events: list[Payload] = []
    fake = Fake()
    async with (
        fake.listening() as upstream,
        Recorder.open(upstream, events.append) as recorder,
        ClientSession() as session,
        session.request(method, f"http://{recorder.address}{path}", json=[posted()]),
    ):
        pass
    assert events == []
    assert fake.requests[0][:2] == (method, path)


async def test_an_alertmanager_that_is_down_has_received_nothing() -> None:
    """Prometheus gets a 502 at once, the outage is noted once, and what is posted after it is received then."""
    events: list[Payload] = []
    alert = posted()
    fake = Fake()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        upstream = Address("127.0.0.1", free.getsockname()[1])
    async with Recorder.open(upstream, events.append) as recorder:
        assert [await post(recorder.address, [alert]) for _ in range(2)] == [502, 502]
        assert received(events) == []
        assert [note.split(":")[0] for note in notes(events)] == ["Alertmanager at 127.0.0.1"]
        assert "does not answer" in notes(events)[0]
        async with fake.listening(upstream.port):
            up_at = time.monotonic()
            assert await post(recorder.address, [alert]) == 200
    (seen,) = received(events)
    assert seen.received.monotonic >= up_at
    assert notes(events)[1:] == [f"Alertmanager at {upstream} answers again"]


async def test_a_restart_of_alertmanager_loses_no_post() -> None:
    """No connection is kept to Alertmanager, so the first post after it was killed does not run into a dead one."""
    events: list[Payload] = []

    async def dies_on_second_use(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        await reader.readexactly(int(head.split("content-length: ")[1].split("\r\n")[0]))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        await reader.read(1)
        writer.transport.abort()

    server = await asyncio.start_server(dies_on_second_use, "127.0.0.1", 0)
    upstream = Address("127.0.0.1", server.sockets[0].getsockname()[1])
    async with server, Recorder.open(upstream, events.append) as recorder:
        assert [await post(recorder.address, [posted(environment=lane)]) for lane in ("lane-1", "lane-2")] == [200, 200]
    assert len(received(events)) == 2
    assert notes(events) == []


async def test_a_post_that_is_refused_is_not_received() -> None:
    """Alertmanager's refusal goes back to Prometheus and is noted with its reason; a resend is received."""
    events: list[Payload] = []
    fake = Fake(status=400, body=b"start time must be before end time")
    alert = posted()
    async with fake.listening() as upstream, Recorder.open(upstream, events.append) as recorder:
        assert await post(recorder.address, [alert]) == 400
        assert received(events) == []
        assert notes(events) == [
            f"Alertmanager at {upstream} refused a post of alerts with 400: start time must be before end time"
        ]
        fake.status = 200
        assert await post(recorder.address, [alert]) == 200
    assert len(received(events)) == 1


async def test_a_post_that_cannot_be_read_is_passed_on_and_noted() -> None:
    """What we do not understand is Alertmanager's to judge."""
    events: list[Payload] = []
    fake = Fake()
    async with fake.listening() as upstream, Recorder.open(upstream, events.append) as recorder:
        assert await post(recorder.address, {"not": "a list"}) == 200
    assert len(fake.requests) == 1
    assert notes(events) == ["Prometheus posted alerts that cannot be read: the body is no list"]


async def test_one_connection_serves_many_posts() -> None:
    """Prometheus's connection is kept open, as Alertmanager itself would keep it."""
    events: list[Payload] = []
    async with Fake().listening() as upstream, Recorder.open(upstream, events.append) as recorder:
        reader, writer = await asyncio.open_connection(recorder.address.host, recorder.address.port)
        for lane in ("lane-1", "lane-2"):
            body = json.dumps([posted(environment=lane)]).encode()
            writer.write(b"POST /api/v2/alerts HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            assert b"connection: close" not in head.lower()
            assert await reader.readexactly(2) == b"{}"
        writer.close()
        await writer.wait_closed()
    assert len(received(events)) == 2


async def test_the_proxy_adds_milliseconds() -> None:
    """The hop that measures does not become one: the median post takes some milliseconds longer, no more."""
    body = [posted(environment=f"lane-{number}") for number in range(20)]
    medians: list[float] = []
    async with Fake().listening() as upstream, Recorder.open(upstream, list[Payload]().append) as recorder:
        for address in (upstream, recorder.address):
            taken: list[float] = []
            async with ClientSession() as session:
                for _ in range(40):
                    start = time.perf_counter()
                    async with session.post(f"http://{address}/api/v2/alerts", json=body) as answer:
                        await answer.read()
                    taken.append(time.perf_counter() - start)
            medians.append(statistics.median(taken))
    assert medians[1] - medians[0] < 0.02, f"direct {medians[0] * 1000:.1f} ms, recorded {medians[1] * 1000:.1f} ms"


def test_resolved_and_open_ends() -> None:
    """Go's zero time is no end; an end in the past is a resolve; a missing start is the arrival."""
    now = Instant.now()
    body = json.dumps([posted(end=None), posted(end=-0.1), {"labels": {"alertname": "X"}}]).encode()
    unending, over, bare = read_alerts(body, "", Instant.now())
    assert (unending.ends_at, unending.resolved) == (None, False)
    assert over.resolved
    assert bare.starts_at >= now.wall
    assert bare.annotations == {}


def test_compressed_posts_are_read() -> None:
    """A sender that compresses is recorded like another."""
    body = gzip.compress(json.dumps([posted()]).encode())
    assert read_alerts(body, "gzip", Instant.now())[0].labels == {"alertname": "ServerDown"}


@pytest.mark.parametrize(
    ("body", "coding", "sentence"),
    [
        (b"{", "", "the body is no JSON"),
        (b"[1]", "", "an alert is no object"),
        (b'[{"labels": {"a": 1}}]', "", "labels and annotations must be objects of strings"),
        (b'[{"startsAt": "noon"}]', "", "'noon' is no instant"),
        (b'[{"startsAt": 5}]', "", "an instant must be a string and is 5"),
        (b"[]", "gzip", "the body is no gzip"),
        (b"[]", "br", "the body has the content coding br"),
    ],
)
def test_bodies_that_are_no_alerts_are_told_in_a_sentence(body: bytes, coding: str, sentence: str) -> None:
    """Whatever is posted, the recorder says what is wrong with it and goes on."""
    with pytest.raises(NotAlerts, match=sentence):
        read_alerts(body, coding, Instant.now())
