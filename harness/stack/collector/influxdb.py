"""InfluxDB 1.x: a batch of a kind becomes points of the kind's database.

A point is who its timestamp and its tags say it is: sent again it takes its own place, so nothing needs a name.
InfluxDB answers 204 once the points are in its write-ahead log (`wal-fsync-delay` is 0 where nobody says otherwise).
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import Final

import aiohttp
import orjson

from harness.stack.collector.forwarder import ANSWER_SECONDS, SHOWN, NotTaken, Parcel
from harness.stack.collector.points import SERIES, NoPoint, point

DATA_ERRORS: Final = frozenset({400, 413})
"""Answers that are about the points: older than the database keeps, of another type, or too many bytes at once."""

_DROPPED = re.compile(r"\bdropped=(\d+)")


@dataclass(frozen=True, slots=True)
class InfluxDB:
    """The address of InfluxDB's HTTP interface; the databases are named by `points.SERIES`."""

    url: str
    title: str = "InfluxDB"

    async def take(self, session: aiohttp.ClientSession, parcel: Parcel) -> None:
        """One write.

        Where InfluxDB takes some of the points and not others, it says how many and not which; the parcel is then not
        taken, and whoever sends its halves does no harm.

        Raises:
            NotTaken: InfluxDB did not take it, or nobody knows whether it did.
        """
        try:
            lines = await asyncio.to_thread(_lines, parcel)
        except NoPoint as error:
            raise NotTaken(str(error), data=True) from None
        asked = {"db": SERIES[parcel.kind].database, "precision": "ns"}
        try:
            async with session.post(f"{self.url.rstrip('/')}/write", params=asked, data=lines) as answer:
                if answer.status in {200, 204}:
                    await answer.read()
                    return
                said = _said(await answer.content.read(2 * SHOWN))
                sentence = f"InfluxDB answers {answer.status}: {said}"
                if answer.status not in DATA_ERRORS:
                    raise NotTaken(sentence)
                dropped = _DROPPED.search(said)
                raise NotTaken(
                    sentence, data=True, whole=dropped is not None and int(dropped[1]) == len(parcel.records)
                )
        except TimeoutError:
            raise NotTaken(f"InfluxDB did not answer within {ANSWER_SECONDS:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise NotTaken(f"InfluxDB cannot be reached: {error}") from error


def _lines(parcel: Parcel) -> bytes:
    series = SERIES[parcel.kind]
    return b"\n".join(point(series, record) for record in parcel.records)


def _said(body: bytes) -> str:
    """What InfluxDB complains of; `dropped=` stands at its end."""
    try:
        told = orjson.loads(body)
        return str(told["error"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return body.decode(errors="replace").strip()
