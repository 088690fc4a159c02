"""How fast the sinks take messages, and how true their clocks are: `python benchmarks/sinks.py [MESSAGES]`.

Every channel's sink runs in a process of its own, with TLS, and reads each message as a person would. From a second
process come as many messages as it takes, over connections that are kept (HTTPS) or made anew for each, with STARTTLS
and AUTH (mail), as Alertmanager does. Then a third process stands in between, a relay that stamps the last byte of each
message before it hands it on: the sink's own instant is held against that.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import re
import selectors
import smtplib
import socket
import ssl
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from urllib.parse import quote, urlencode

from harness.model.notifications import RawMessage
from harness.observe.certificates import write_certificate
from harness.observe.channels import Certificate, Channel
from harness.observe.channels.registry import CHANNELS

WANTED_PER_SECOND = {"email": 100}
WANTED_HTTP_PER_SECOND = 1_000
WANTED_ERROR_SECONDS = 0.010
CONNECTIONS = 8
PACED_CONNECTIONS = 4
PACED_PER_CONNECTION = 100
PAUSE_SECONDS = 0.02
DEADLINE_SECONDS = 60.0

SPAWN = multiprocessing.get_context("spawn")
NUMBER = re.compile(r"No(\d+)x")


@dataclass(frozen=True, slots=True)
class Open:
    """A sink that is open in its process."""

    host: str
    port: int
    settings: Mapping[str, str]


def serve(name: str, certificate: Certificate, parent: Connection) -> None:
    """A process: one sink, until the parent says stop; then what arrived, by number, on the monotonic clock."""
    asyncio.run(_serve(next(one for one in CHANNELS if one.name == name), certificate, parent))


async def _serve(channel: Channel, certificate: Certificate, parent: Connection) -> None:
    arrived: list[tuple[int, float]] = []

    def deliver(raw: RawMessage) -> None:
        channel.read(raw)
        found = NUMBER.search(raw.body)
        arrived.append((int(found[1]) if found else -1, raw.arrived.monotonic))

    def refuse(_: str, why: str) -> None:
        sys.stderr.write(f"{channel.name}: {why}\n")

    async with channel.open(certificate, deliver, refuse) as sink:
        parent.send(Open(sink.address.host, sink.address.port, dict(sink.binding.settings)))
        await asyncio.to_thread(parent.recv)
    parent.send(arrived)


def relay(upstream: tuple[str, int], parent: Connection) -> None:
    """A process: carries bytes, and stamps the last one that a client sent before each answer, by connection."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    parent.send(listener.getsockname())
    watch = selectors.DefaultSelector()
    watch.register(listener, selectors.EVENT_READ)
    watch.register(parent, selectors.EVENT_READ)
    stamps: dict[int, list[float]] = {}
    last: dict[int, float] = {}
    while True:
        for key, _ in watch.select():
            if key.fileobj is parent:
                parent.send(stamps)
                return
            if key.fileobj is listener:
                client, (_, port) = listener.accept()
                server = socket.create_connection(upstream)
                for side in (client, server):
                    side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                stamps[port] = []
                watch.register(client, selectors.EVENT_READ, (server, port, True))
                watch.register(server, selectors.EVENT_READ, (client, port, False))
                continue
            other, port, from_client = key.data
            source = key.fileobj
            assert isinstance(source, socket.socket)
            chunk = _received(source)
            now = time.monotonic()
            if not chunk:
                watch.unregister(source)
                source.close()
            elif from_client:
                last[port] = now
                other.sendall(chunk)
            else:
                if port in last:
                    stamps[port].append(last.pop(port))
                other.sendall(chunk)


def _received(side: socket.socket) -> bytes:
    try:
        return side.recv(1 << 16)
    except ConnectionError:
        return b""


def text(number: int) -> str:
    """What a message of this number says: as much as an alert of ours does."""
    return (
        f"[FIRING:1] HighErrorRatio lane-01 (critical)\nNo{number}x 5.4% of requests fail in lane-01\n"
        "More than 5 % of requests were answered with an error for 10 s: users see it.\n"
        "Alert: HighErrorRatio | Environment: lane-01 | Severity: critical\nRunbook: https://runbooks.example.org/errors"
    )


def body(channel: str, number: int) -> bytes:
    """A message of this number as the channel takes it."""
    said = text(number)
    labels = {"alertname": "HighErrorRatio", "environment": "lane-01", "severity": "critical"}
    alert = {"status": "firing", "labels": labels, "annotations": {"summary": said}}
    match channel:
        case "sms":
            fields = {"Action": "Publish", "Version": "2010-03-31", "PhoneNumber": "+491700000000", "Message": said}
            return urlencode(fields).encode()
        case "slack":
            attachment = {"title": said.partition("\n")[0], "text": said, "color": "danger"}
            return json.dumps({"channel": "#alerts", "attachments": [attachment]}).encode()
        case "discord":
            return json.dumps({"embeds": [{"title": said.partition("\n")[0], "description": said}]}).encode()
        case "push":
            return json.dumps({"version": "4", "status": "firing", "commonLabels": labels, "alerts": [alert]}).encode()
    return f"Subject: [FIRING:1] HighErrorRatio lane-01 (critical)\r\n\r\n{said}\r\n".encode()


def post(channel: str, sink: Open, number: int) -> bytes:
    """The whole request of a message over HTTPS."""
    url = next(value for value in sink.settings.values() if value.startswith("https://"))
    path = "/" + url.split("/", 3)[3].replace("{receiver}", quote("oncall"))
    content = body(channel, number)
    scope = f"{sink.settings.get('sigv4.access_key', '')}/20261125/us-east-1/sns/aws4_request"
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {sink.host}\r\nContent-Length: {len(content)}\r\n"
        f"Authorization: AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0\r\n\r\n"
    )
    return head.encode() + content


async def posted(
    channel: str, sink: Open, trust: ssl.SSLContext, numbers: Sequence[int], pause_seconds: float = 0
) -> int:
    """Posts these messages one after the other over one connection; the client's own port."""
    reader, writer = await asyncio.open_connection(sink.host, sink.port, ssl=trust, server_hostname="127.0.0.1")
    port = int(writer.get_extra_info("sockname")[1])
    for number in numbers:
        writer.write(post(channel, sink, number))
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        await reader.readexactly(int(length[1]) if length else 0)
        if pause_seconds:
            await asyncio.sleep(pause_seconds)
    writer.transport.abort()
    return port


def mailed(sink: Open, trust: ssl.SSLContext, number: int) -> None:
    """Sends one mail over a connection of its own."""
    client = entered(sink, trust)
    client.sendmail("alerts@example.org", ["oncall@example.org"], body("email", number))
    client.close()


def entered(sink: Open, trust: ssl.SSLContext) -> smtplib.SMTP:
    """A mail client behind STARTTLS and AUTH."""
    client = smtplib.SMTP(sink.host, sink.port, local_hostname="localhost", timeout=DEADLINE_SECONDS)
    client.starttls(context=trust)
    client.login(sink.settings["auth_username"].replace("{receiver}", "oncall"), sink.settings["auth_password"])
    return client


def flood(channel: str, sink: Open, trust: ssl.SSLContext, messages: int) -> float:
    """Sends as fast as the sink takes them; how long it took, in seconds."""
    began = time.monotonic()
    if channel == "email":
        with ThreadPoolExecutor(CONNECTIONS) as threads:
            list(threads.map(lambda number: mailed(sink, trust, number), range(messages)))
    else:

        async def all_of_them() -> None:
            shares = [range(first, messages, CONNECTIONS) for first in range(CONNECTIONS)]
            await asyncio.gather(*(posted(channel, sink, trust, share) for share in shares))

        asyncio.run(all_of_them())
    return time.monotonic() - began


def pace(channel: str, sink: Open, trust: ssl.SSLContext) -> dict[int, list[int]]:
    """Sends with pauses over kept connections; which messages went over which, by the client's port."""
    shares = [
        list(range(first, PACED_CONNECTIONS * PACED_PER_CONNECTION, PACED_CONNECTIONS))
        for first in range(PACED_CONNECTIONS)
    ]
    if channel != "email":

        async def all_of_them() -> list[int]:
            return await asyncio.gather(*(posted(channel, sink, trust, share, PAUSE_SECONDS) for share in shares))

        return dict(zip(asyncio.run(all_of_them()), shares, strict=True))

    def mail(share: list[int]) -> int:
        client = entered(sink, trust)
        assert client.sock is not None
        port = int(client.sock.getsockname()[1])
        for number in share:
            client.sendmail("alerts@example.org", ["oncall@example.org"], body("email", number))
            time.sleep(PAUSE_SECONDS)
        client.close()
        return port

    with ThreadPoolExecutor(PACED_CONNECTIONS) as threads:
        return dict(zip(threads.map(mail, shares), shares, strict=True))


@contextmanager
def opened(channel: str, certificate: Certificate) -> Iterator[tuple[Open, list[tuple[int, float]]]]:
    """A sink in a process of its own, and the list that holds what arrived once it is closed."""
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=serve, args=(channel, certificate, theirs), daemon=True)
    process.start()
    arrived: list[tuple[int, float]] = []
    yield ours.recv(), arrived
    ours.send("stop")
    arrived.extend(ours.recv())
    process.join(DEADLINE_SECONDS)


def capacity(channel: str, certificate: Certificate, trust: ssl.SSLContext, messages: int) -> tuple[float, int]:
    """Messages a second, and how many were lost or doubled."""
    with opened(channel, certificate) as (sink, arrived):
        flood(channel, sink, trust, CONNECTIONS)  # what is slow once only is not counted
        took = flood(channel, sink, trust, messages)
    numbers = sorted(number for number, _ in arrived)
    wanted = sorted([*range(CONNECTIONS), *range(messages)])
    return messages / took, len(set(range(messages)) - set(numbers)) + (len(numbers) - len(wanted))


def errors(channel: str, certificate: Certificate, trust: ssl.SSLContext) -> list[float]:
    """By how many seconds each arrival is later than the last byte that the relay saw of it."""
    with opened(channel, certificate) as (sink, arrived):
        ours, theirs = SPAWN.Pipe()
        between = SPAWN.Process(target=relay, args=((sink.host, sink.port), theirs), daemon=True)
        between.start()
        host, port = ours.recv()
        sent = pace(channel, Open(host, port, sink.settings), trust)
        ours.send("stop")
        stamps: Mapping[int, Sequence[float]] = ours.recv()
        between.join(DEADLINE_SECONDS)
    # A mail is four questions with an answer each (MAIL, RCPT, DATA, the content), a request over HTTPS is one; what
    # was said before, handshakes and AUTH, comes first.
    steps = 4 if channel == "email" else 1
    seen = {
        number: stamp
        for client, numbers in sent.items()
        for number, stamp in zip(numbers, stamps[client][-steps * len(numbers) :][steps - 1 :: steps], strict=True)
    }
    return [at - seen[number] for number, at in arrived]


def main() -> None:
    """Measures and prints one line for each sink; the exit code says whether all reached what is wanted."""
    messages = int(sys.argv[1]) if len(sys.argv) > 1 else 5_000
    reached = True
    with tempfile.TemporaryDirectory() as folder:
        certificate = write_certificate(Path(folder))
        trust = ssl.create_default_context(cafile=str(certificate.authority))
        for channel in CHANNELS:
            name = channel.name
            wanted = WANTED_PER_SECOND.get(name, WANTED_HTTP_PER_SECOND)
            count = messages // 5 if name == "email" else messages
            rate, lost = capacity(name, certificate, trust, count)
            late = sorted(errors(name, certificate, trust))
            p99 = statistics.quantiles(late, n=100)[98]
            good = rate >= wanted and lost == 0 and late[0] > -0.001 and p99 <= WANTED_ERROR_SECONDS
            reached = reached and good
            sys.stdout.write(
                f"{name:<8} {rate:7.0f} messages/s ({rate / wanted:.1f} x what is wanted, {count} sent, {lost} lost)  "
                f"arrival later than the wire by {statistics.median(late) * 1e3:.2f} ms, "
                f"p99 {p99 * 1e3:.2f} ms, max {late[-1] * 1e3:.2f} ms ({len(late)} messages)\n"
            )
    sys.exit(0 if reached else 1)


if __name__ == "__main__":
    main()
