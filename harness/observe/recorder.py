"""The recording proxy between Prometheus and Alertmanager: the hop `received`, seen without asking anybody.

Everything that Prometheus sends is passed on as it came and so is every answer. A post of alerts is stamped when its
last byte is in, before it is passed on, and recorded once Alertmanager has taken it: an alert that Alertmanager was
never handed has not been received. Prometheus posts a firing alert again every few seconds and a resolved one for
fifteen minutes; only what is new is recorded.
"""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import ClientError, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector, web
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from harness.errors import StackError
from harness.model.events import Payload, Progress
from harness.model.notifications import AlertReceived, ReceivedAlert
from harness.model.stack import Address
from harness.model.time import Instant, from_rfc3339

ALERTS_PATH: Final = "/api/v2/alerts"
"""Where alerts are posted, below whatever prefix Alertmanager's own path has (`path_prefix` in prometheus.yml)."""

UPSTREAM_SECONDS: Final = 60.0
"""How long Alertmanager may take. Beyond Prometheus's own 10 s: a hang is Prometheus's to cut, not ours."""

_HOP_BY_HOP: Final = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
     "transfer-encoding", "upgrade"}
)  # fmt: skip
"""Headers that concern one connection and are not passed on (RFC 9110, 7.6.1)."""

_CONTENT_CODINGS: Final = {"gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}

Write = Callable[[Payload], object]
"""Takes an event into the ledger."""


_State = tuple[float, bool, frozenset[tuple[str, str]]]
"""What makes a post of an alert worth a line: its start, whether it is over, its annotations."""


class NotAlerts(ValueError):
    """What was posted as alerts is none; the text is a sentence."""


class Recorder:
    """One proxy in front of one Alertmanager. Made by `Recorder.open`."""

    def __init__(self, address: Address, upstream: Address, session: ClientSession, write: Write) -> None:
        self._address = address
        self._upstream = upstream
        self._session = session
        self._write = write
        self._recorded: dict[frozenset[tuple[str, str]], _State] = {}
        self._upstream_down = False

    @classmethod
    @asynccontextmanager
    async def open(cls, upstream: Address, write: Write) -> AsyncIterator[Recorder]:
        """A recorder on a free port of loopback; leaving closes it.

        Args:
            upstream: the Alertmanager; it need not be there yet.
            write: takes what was seen, an `AlertReceived` or a note.

        Raises:
            StackError: it cannot listen.
        """
        # A connection for each request: one that was kept open would fail once after every restart of Alertmanager,
        # and the proxy would have lost alerts that Prometheus by itself would not.
        connector = TCPConnector(force_close=True, limit=0)
        async with ClientSession(
            connector=connector,
            auto_decompress=False,
            cookie_jar=DummyCookieJar(),
            timeout=ClientTimeout(total=UPSTREAM_SECONDS),
        ) as session:
            recorder: Recorder | None = None

            async def handle(request: web.BaseRequest) -> web.StreamResponse:
                assert recorder is not None
                return await recorder._pass_on(request)

            runner = web.ServerRunner(
                web.Server(handle, auto_decompress=False, access_log=None), handle_signals=False, shutdown_timeout=0.1
            )
            await runner.setup()
            try:
                site = web.TCPSite(runner, "127.0.0.1", 0)
                try:
                    await site.start()
                except OSError as error:
                    raise StackError(
                        "The recording proxy before Alertmanager cannot listen on loopback",
                        expected="a free port of 127.0.0.1",
                        seen=error.strerror or str(error),
                    ) from error
                host, port = runner.addresses[0][:2]
                recorder = cls(Address(host, port), upstream, session, write)
                yield recorder
            finally:
                await runner.cleanup()

    @property
    def address(self) -> Address:
        """Where Prometheus must be pointed at instead of Alertmanager."""
        return self._address

    @property
    def upstream(self) -> Address:
        """The Alertmanager behind it."""
        return self._upstream

    async def _pass_on(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.content.read()
        received = Instant.now()
        posts_alerts = request.method == "POST" and request.path.endswith(ALERTS_PATH)
        try:
            async with self._session.request(
                request.method,
                URL(f"http://{self._upstream}{request.raw_path}", encoded=True),
                data=body or None,
                headers=_end_to_end(request.headers),
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
                allow_redirects=False,
            ) as answer:
                content = await answer.read()
                headers = _end_to_end(answer.headers)
                status, reason = answer.status, answer.reason
        except (ClientError, TimeoutError, OSError) as error:
            self._note_down(error)
            return web.Response(
                status=502, text=f"Alertmanager at {self._upstream} did not answer: {_sentence(error)}\n"
            )
        self._note_up()
        if posts_alerts and 200 <= status < 300:
            self._record(body, request.headers.get("Content-Encoding", ""), received)
        elif posts_alerts:
            first = content.decode(errors="replace")[:200].strip()
            self._write(Progress(f"Alertmanager at {self._upstream} refused a post of alerts with {status}: {first}"))
        if request.method != "HEAD":
            headers.popall("Content-Length", None)
        return web.Response(status=status, reason=reason, headers=headers, body=content)

    def _record(self, body: bytes, coding: str, received: Instant) -> None:
        try:
            alerts = read_alerts(body, coding, received)
        except NotAlerts as error:
            self._write(Progress(f"Prometheus posted alerts that cannot be read: {error}"))
            return
        for alert in alerts:
            key = frozenset(alert.labels.items())
            # Annotations carry values that drift while an alert fires; a message is composed from the newest.
            state = (alert.starts_at, alert.resolved, frozenset(alert.annotations.items()))
            if self._recorded.get(key) != state:
                self._recorded[key] = state
                self._write(AlertReceived(alert))

    def _note_down(self, error: Exception) -> None:
        if not self._upstream_down:
            self._upstream_down = True
            self._write(Progress(f"Alertmanager at {self._upstream} does not answer: {_sentence(error)}"))

    def _note_up(self) -> None:
        if self._upstream_down:
            self._upstream_down = False
            self._write(Progress(f"Alertmanager at {self._upstream} answers again"))


def read_alerts(body: bytes, coding: str, received: Instant) -> tuple[ReceivedAlert, ...]:
    """The alerts of a post to Alertmanager's API v2, as Prometheus writes them.

    Prometheus sets `endsAt` of a firing alert to a few resends ahead, so an end in the future means firing. Its zero
    time (year 1) stands for none.

    Raises:
        NotAlerts: the body is not such a post; a sentence.
    """
    if coding:
        body = _decoded(body, coding)
    try:
        posted = json.loads(body)
    except ValueError as error:
        raise NotAlerts(f"the body is no JSON ({error})") from error
    if not isinstance(posted, list):
        raise NotAlerts("the body is no list")
    return tuple(_alert(item, received) for item in posted)


def _alert(item: object, received: Instant) -> ReceivedAlert:
    if not isinstance(item, dict):
        raise NotAlerts("an alert is no object")
    starts_at = _instant(item.get("startsAt"))
    return ReceivedAlert(
        labels=_strings(item.get("labels")),
        annotations=_strings(item.get("annotations")),
        # Alertmanager takes the arrival where no start is given.
        starts_at=received.wall if starts_at is None else starts_at,
        ends_at=_instant(item.get("endsAt")),
        received=received,
    )


def _strings(value: object) -> Mapping[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise NotAlerts("labels and annotations must be objects of strings")
    return value


def _instant(value: object) -> float | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise NotAlerts(f"an instant must be a string and is {value!r}")
    try:
        seconds = from_rfc3339(value)
    except ValueError as error:
        raise NotAlerts(f"{value!r} is no instant") from error
    return seconds if seconds > 0 else None


def _decoded(body: bytes, coding: str) -> bytes:
    window = _CONTENT_CODINGS.get(coding.strip().lower())
    if window is None:
        raise NotAlerts(f"the body has the content coding {coding}")
    try:
        return zlib.decompress(body, window)
    except zlib.error as error:
        raise NotAlerts(f"the body is no {coding} ({error})") from error


def _end_to_end(headers: CIMultiDictProxy[str]) -> CIMultiDict[str]:
    """The headers that are passed on: all but those of the connection, and those that `Connection` names."""
    named = {name.strip().lower() for value in headers.getall("Connection", ()) for name in value.split(",")}
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in _HOP_BY_HOP | named)


def _sentence(error: Exception) -> str:
    if isinstance(error, TimeoutError | asyncio.TimeoutError):
        return f"nothing came within {UPSTREAM_SECONDS:.0f} s"
    return str(error) or type(error).__name__
