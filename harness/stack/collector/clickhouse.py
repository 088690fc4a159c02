"""ClickHouse: a batch of a kind becomes rows of the kind's table, as it was posted.

What is sent is named by where it stands in the spool (`insert_deduplication_token`), so that a batch whose answer was
lost is not stored twice; and the tables keep one row of an identity, should ClickHouse have forgotten the name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import aiohttp

from harness.stack.collector.forwarder import ANSWER_SECONDS, SHOWN, NotTaken, Parcel

EXCEPTION_CODE: Final = "X-ClickHouse-Exception-Code"
DATA_ERRORS: Final = frozenset({"6", "26", "27", "38", "41", "69", "72", "117", "130", "131", "158", "190"})
"""ClickHouse's codes for rows that it cannot read or hold; asking again would not help (`ErrorCodes.cpp`)."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class ClickHouse:
    """The address of ClickHouse's HTTP interface, and a database there."""

    url: str
    database: str
    title: str = "ClickHouse"

    def table(self, kind: str) -> str:
        """The table of a kind of event.

        Raises:
            NotTaken: no table can have such a name.
        """
        name = kind.replace("-", "_")
        if _NAME.fullmatch(name) is None:
            raise NotTaken(f"no table can be called after the kind {kind!r}")
        return f"{self.database}.{name}_events"

    async def take(self, session: aiohttp.ClientSession, parcel: Parcel) -> None:
        """One insert.

        Raises:
            NotTaken: ClickHouse did not take it, or nobody knows whether it did.
        """
        asked = {
            "query": f"INSERT INTO {self.table(parcel.kind)} (record) FORMAT JSONAsString",
            "insert_deduplication_token": parcel.name,
            # Taken means stored: never a buffer of the server's, never an answer before the end.
            "async_insert": "0",
            "wait_end_of_query": "1",
        }
        try:
            async with session.post(self.url, params=asked, data=b"\n".join(parcel.records)) as answer:
                if answer.status == 200:
                    await answer.read()
                    return
                said = (await answer.content.read(SHOWN)).decode(errors="replace").strip()
                code = answer.headers.get(EXCEPTION_CODE, "")
                raise NotTaken(f"ClickHouse answers {answer.status}: {said}", data=code in DATA_ERRORS)
        except TimeoutError:
            raise NotTaken(f"ClickHouse did not answer within {ANSWER_SECONDS:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise NotTaken(f"ClickHouse cannot be reached: {error}") from error
