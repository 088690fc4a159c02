"""Prometheus's HTTP API, asked: what comes back is data, or a sentence on why there is none."""

from __future__ import annotations

from typing import Any

from aiohttp import ClientError, ClientSession


class NoAnswer(Exception):
    """Prometheus did not answer, or not with what was asked for; the text is a sentence that goes after its name."""


async def ask(session: ClientSession, query: str, at: float | None = None) -> list[Any]:
    """The series that Prometheus answers a query with.

    Args:
        session: one whose base is Prometheus's own address.
        query: PromQL.
        at: the instant of evaluation in Unix seconds, cut to milliseconds; now where None.

    Raises:
        NoAnswer: it could not be asked, or refused.
    """
    asked = {"query": query} if at is None else {"query": query, "time": f"{at:.3f}"}
    return await _list(session, "/api/v1/query", asked, "result", query, "no series")


async def active_targets(session: ClientSession) -> list[Any]:
    """The targets that Prometheus scrapes now, as `GET /api/v1/targets` lists them.

    Raises:
        NoAnswer: it could not be asked, or refused.
    """
    path = "/api/v1/targets?state=active"
    return await _list(session, path, None, "activeTargets", path, "no targets")


async def _list(
    session: ClientSession, path: str, asked: dict[str, str] | None, member: str, what: str, missing: str
) -> list[Any]:
    try:
        async with session.request("GET" if asked is None else "POST", path, data=asked) as response:
            answer = await response.json(content_type=None)
    except (ClientError, OSError) as error:
        raise NoAnswer(f"cannot be asked ({error or type(error).__name__})") from error
    except ValueError as error:
        raise NoAnswer(f"answered {response.status} and no JSON to {what}") from error
    try:
        if answer["status"] != "success":
            raise NoAnswer(f"refused {what}: {answer['error']}")
        return list(answer["data"][member])
    except (KeyError, TypeError) as error:
        raise NoAnswer(f"answered {response.status} and {missing} to {what}") from error
