"""The class `metrics`: every raw sample of drawn series of Prometheus, held against the points that InfluxDB has.

Prometheus answers a range vector with raw samples and their own timestamps; markers of staleness are not among them,
and InfluxDB has no number for one. Samples that are NaN or infinite are expected not to be there: InfluxDB 1.x leaves
the first out, and refuses a whole batch for the second.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Final
from urllib.parse import parse_qs, urlsplit

from aiohttp import ClientError, ClientSession, ClientTimeout
from prometheus_client.parser import text_string_to_metric_families

from harness.errors import HarnessError, StackError
from harness.model.audit import ALLOWANCE_SECONDS
from harness.model.series import METRICS, SeriesCompared, SeriesControl
from harness.model.stack import Address
from harness.observe.asking import NoAnswer, ask
from harness.observe.series.comparing import NANOSECONDS, Sample, Tally, controlled
from harness.observe.series.influx import Influx, named, tagged
from harness.policy.parse.prometheus import RemoteWrite

DRAWN: Final = 200
"""Series that are drawn beside every `up`: each is asked for at both ends."""

ABSENT: Final = 50
"""Series that one end has and the other not which are compared at most."""

PAGE_SECONDS: Final = 1800
"""Of one series, so much time at once."""

SENT: Final = "prometheus_remote_storage_queue_highest_sent_timestamp_seconds"
"""What Prometheus says of how far it has sent, in whole seconds."""

_NAME: Final = "__name__"
_MILLION: Final = 1_000_000
_POLL_SECONDS: Final = 0.5
_SECONDS: Final = 60.0

Labels = frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Metrics:
    """What is compared.

    Args:
        prometheus: where it listens.
        influxdb: where InfluxDB listens.
        writer: the name of the Prometheus.
        remote: the remote_write that leads there.
        external: labels that Prometheus adds to whatever it sends.
        since: where the window begins, Unix seconds.
        until: where it ends.
        seed: what series are drawn by.
        limit_seconds: how long after its end all of the window may take to be sent.
    """

    prometheus: Address
    influxdb: Address
    writer: str
    remote: RemoteWrite
    external: Mapping[str, str]
    since: float
    until: float
    seed: int
    limit_seconds: float = ALLOWANCE_SECONDS

    @property
    def database(self) -> str:
        """The database that the URL names."""
        return parse_qs(urlsplit(self.remote.url.text).query).get("db", [""])[0]


async def compare_metrics(asked: Metrics) -> SeriesCompared:
    """Compares; whatever keeps it from that is the event's `error`."""
    began = time.monotonic()
    nothing = SeriesCompared(METRICS, writer=asked.writer, from_at=asked.since, to_at=asked.until)
    if asked.remote.unread:
        return replace(nothing, error=f"nobody can say here which series are sent: {asked.remote.unread}")
    try:
        async with (
            Influx(asked.influxdb) as influx,
            ClientSession(f"http://{asked.prometheus}", timeout=ClientTimeout(total=_SECONDS)) as session,
        ):
            store = await influx.version()
            waited = await _sent_all(session, asked)
            told = await _Comparison(asked, session, influx).carry_out()
    except NoAnswer as error:
        return replace(nothing, error=f"Prometheus at {asked.prometheus} {error}")
    except HarnessError as error:
        return replace(nothing, error=str(error).replace("\n  ", "; "))
    return replace(told, store=store, waited_seconds=waited, seconds=time.monotonic() - began - waited)


async def _sent_all(session: ClientSession, asked: Metrics) -> float:
    """Waits until Prometheus says that it has sent what is newer than the window; how long that took.

    Raises:
        StackError: it had not in time.
    """
    began, deadline = time.monotonic(), asked.until + asked.limit_seconds
    while True:
        sent = await _highest_sent(session, asked)
        if sent is not None and sent > asked.until:
            return time.monotonic() - began
        if time.time() > deadline:
            raise StackError(
                f"Prometheus had not sent all of the window {asked.limit_seconds:g} s after its end",
                expected=f"{SENT} beyond {asked.until:.0f}",
                seen="no such figure" if sent is None else f"{sent:.0f}",
            )
        await asyncio.sleep(_POLL_SECONDS)


async def _highest_sent(session: ClientSession, asked: Metrics) -> float | None:
    """How far Prometheus has sent, where it writes to that path of any host: the copy has another address."""
    wanted = urlsplit(asked.remote.url.text)
    try:
        async with session.get("/metrics") as answer:
            text = await answer.text(errors="replace")
        families = [one for one in text_string_to_metric_families(_only(text, SENT)) if one.name == SENT]
    except (ClientError, OSError, ValueError) as error:
        raise NoAnswer(f"cannot be asked how far it has sent ({error or type(error).__name__})") from error
    found = [
        sample.value
        for family in families
        for sample in family.samples
        if (parts := urlsplit(sample.labels.get("url", ""))).path == wanted.path and parts.query == wanted.query
    ]
    return min(found, default=None)


def _only(text: str, name: str) -> str:
    """The lines of one figure: to read all of them takes a tenth of a second."""
    return "".join(f"{line}\n" for line in text.splitlines() if line.startswith(name))


class _Comparison:
    """One comparison while it goes on."""

    def __init__(self, asked: Metrics, session: ClientSession, influx: Influx) -> None:
        self._asked = asked
        self._session = session
        self._influx = influx
        self._tally = Tally()
        self._control: SeriesControl | None = None
        self._random = Random(f"{asked.seed}/series")
        self._from = round(asked.since * 1000)
        self._to = round(asked.until * 1000)

    async def carry_out(self) -> SeriesCompared:
        sent = await self._sent()
        there = await self._there()
        ups = sorted(labels for labels in sent if (_NAME, "up") in labels)
        others = sorted(sent.keys() - set(ups), key=sorted)
        drawn = [*ups, *self._random.sample(others, min(DRAWN, len(others)))]
        # What only one end has need not be drawn to be seen.
        odd = sorted(sent.keys() ^ there, key=sorted)
        doubts = [f"{len(odd)} series are only at one end, {ABSENT} of them were compared"] if len(odd) > ABSENT else []
        for labels in dict.fromkeys([*drawn, *odd[:ABSENT]]):
            await self._compare(labels, sent.get(labels))
        tally = self._tally
        return SeriesCompared(
            of_class=METRICS,
            writer=self._asked.writer,
            from_at=self._asked.since,
            to_at=self._asked.until,
            known=len(sent),
            series=tally.series,
            expected=tally.expected,
            found=tally.found,
            missing=tally.missing,
            differing=tally.differing,
            foreign=tally.foreign,
            twice=tally.twice,
            unwritable=tally.unwritable,
            gaps=tally.gaps(),
            examples={what: tuple(names) for what, names in tally.examples.items()},
            control=self._control or SeriesControl(),
            doubts=tuple(doubts),
        )

    async def _sent(self) -> dict[Labels, Mapping[str, str]]:
        """The series that must be there: as they are sent, with what Prometheus itself calls them."""
        asked = self._asked
        form = {"match[]": f'{{{_NAME}!=""}}', "start": f"{asked.since:.3f}", "end": f"{asked.until:.3f}"}
        try:
            async with self._session.post("/api/v1/series", data=form) as answer:
                told = await answer.json(content_type=None)
            series = [{str(name): str(value) for name, value in one.items()} for one in told["data"]]
        except (ClientError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise NoAnswer(f"does not list its series ({error or type(error).__name__})") from error
        whole = (({**asked.external, **one}, one) for one in series)
        return {frozenset(labels.items()): own for labels, own in whole if asked.remote.sends(labels)}

    async def _there(self) -> set[Labels]:
        """The series of which InfluxDB has a point in the window."""
        statement = f"SELECT last(value) FROM /.+/ WHERE {self._within(self._from, self._to)} GROUP BY *"  # noqa: S608 - numbers of ours
        return {
            frozenset((name, value) for name, value in piece.tags.items() if value)
            async for piece in self._influx.pieces(statement, self._asked.database)
        }

    async def _compare(self, labels: Labels, own: Mapping[str, str] | None) -> None:
        name = _shown(labels)
        self._tally.series += 1
        for begin, end in self._pages():
            wanted = [] if own is None else await self._wanted(own, begin, end)
            got = await self._got(labels, begin, end)
            self._tally.take(name, wanted, got)
            if self._control is None:
                self._control = controlled(name, wanted, got, self._random)

    def _pages(self) -> Iterator[tuple[int, int]]:
        step = PAGE_SECONDS * 1000
        return ((begin, min(begin + step, self._to)) for begin in range(self._from, self._to, step))

    async def _wanted(self, own: Mapping[str, str], begin: int, end: int) -> list[Sample]:
        """Prometheus's raw samples after an instant and up to another, in milliseconds."""
        found = await ask(self._session, f"{_selector(own)}[{end - begin}ms]", end / 1000)
        values = next((one["values"] for one in found if one["metric"] == own), ())
        samples = ((round(float(at) * 1000), float(value)) for at, value in values)
        return [(at * _MILLION, value) for at, value in samples if begin < at <= end]

    async def _got(self, labels: Labels, begin: int, end: int) -> list[Sample]:
        tags = dict(labels)
        condition = f"{self._within(begin, end)} AND {tagged(tags)}"
        source = named(tags.get(_NAME, ""))
        statement = f"SELECT value FROM {source} WHERE {condition} GROUP BY *"  # noqa: S608 - escaped by `named`, `tagged`
        return [
            (int(at), float(value))
            async for piece in self._influx.pieces(statement, self._asked.database)
            if frozenset((name, text) for name, text in piece.tags.items() if text) == labels
            for at, value in piece.rows
        ]

    def _within(self, begin: int, end: int) -> str:
        return f"time > {begin * _MILLION} AND time <= {end * _MILLION}"


def _selector(labels: Mapping[str, str]) -> str:
    told = (f"{name}={_text(value)}" for name, value in sorted(labels.items()))
    return f"{{{','.join(told)}}}"


def _text(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _shown(labels: Labels) -> str:
    """A series as a person writes it."""
    tags = dict(labels)
    return f"{tags.pop(_NAME, '')}{_selector(tags)}"


__all__ = ["NANOSECONDS", "Metrics", "compare_metrics"]
