"""Alertmanager's own interface (API v2): silences, alerts posted to it, and who keeps an alert from being heard.

Source: `api/v2/openapi.yaml` of Alertmanager, unchanged in what is used here from 0.25 to 0.34.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import aiohttp

from harness.drive.look import Look
from harness.errors import FaultError
from harness.model.stack import LANE_LABEL, Address
from harness.model.time import rfc3339

ANSWER_SECONDS: Final = 5.0
"""How long one answer may take."""

SILENCED: Final = {"silencedBy": "silenced"}
"""Who keeps an alert back: the field of the answer that names silences, and the word for it."""

INHIBITED: Final = {"inhibitedBy": "inhibited"}
"""The same for inhibition."""

_AUTHOR = "tocsin"


@asynccontextmanager
async def silenced(address: Address, labels: Mapping[str, str], from_at: float, until_at: float) -> AsyncIterator[str]:
    """A silence for alerts with these labels between two instants (Unix seconds); leaving ends it at once.

    One that has expired by then, or that Alertmanager has forgotten, needs no end.

    Raises:
        FaultError: Alertmanager did not take it, or could not end it.
    """
    answer = await _ask(
        address,
        "POST",
        "/api/v2/silences",
        "A silence was not taken",
        {
            "matchers": [{"name": name, "value": value, "isRegex": False} for name, value in labels.items()],
            "startsAt": rfc3339(from_at),
            "endsAt": rfc3339(until_at),
            "createdBy": _AUTHOR,
            "comment": "a scene is played",
        },
    )
    name = answer.get("silenceID") if isinstance(answer, dict) else None
    if not isinstance(name, str):
        raise FaultError("A silence was not taken", expected="an answer with a silenceID", seen=repr(answer))
    try:
        yield name
    finally:
        await _ask(address, "DELETE", f"/api/v2/silence/{name}", "A silence could not be ended", gone_is_well=True)


async def post(
    address: Address, labels: Mapping[str, str], annotations: Mapping[str, str], from_at: float, until_at: float
) -> None:
    """Posts one alert as Prometheus does, firing between two instants (Unix seconds).

    Raises:
        FaultError: Alertmanager did not take it.
    """
    alert = {
        "labels": dict(labels),
        "annotations": dict(annotations),
        "startsAt": rfc3339(from_at),
        "endsAt": rfc3339(until_at),
    }
    await _ask(address, "POST", "/api/v2/alerts", "An alert was not taken", [alert])


async def kept_back(address: Address, lane: str, alerts: tuple[str, ...], by: Mapping[str, str]) -> Look:
    """One look whether Alertmanager keeps one of these alerts of a lane from being heard, and by whom.

    Raises:
        FaultError: it does not answer.
    """
    what = "Alertmanager does not say which alerts it has"
    answer = await _ask(address, "GET", f'/api/v2/alerts?filter={LANE_LABEL}="{lane}"', what)
    there = []
    for one in answer if isinstance(answer, list) else ():
        name = one.get("labels", {}).get("alertname", "")
        status = one.get("status", {})
        for field, word in by.items():
            if name in alerts and status.get(field):
                return Look(True, f"Alertmanager has {name} of {lane} and keeps it back: it is {word}")
        there.append(f"{name} ({status.get('state')})")
    return Look(False, f"Alertmanager has {', '.join(sorted(there)) or 'no alert'} of {lane}")


async def _ask(
    address: Address, method: str, path: str, what: str, body: object = None, *, gone_is_well: bool = False
) -> object:
    """What it answers, as JSON; None where it says nothing.

    Raises:
        FaultError: it does not answer, or not with 200.
    """
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS)) as session,
            session.request(method, f"http://{address}{path}", json=body) as response,
        ):
            text = await response.text(errors="replace")
            # One that has expired cannot be ended: Alertmanager answers with an error that says so.
            over = gone_is_well and (response.status == 404 or "expired" in text)
            if response.status == 200:
                return await response.json(content_type=None) if text.strip() else None
            if over:
                return None
            raise FaultError(what, expected="200", seen=f"{method} {path} answered {response.status}: {text[:200]}")
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise FaultError(what, seen=f"{address}: {error or 'no answer'}") from error
