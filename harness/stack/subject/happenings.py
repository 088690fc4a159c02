"""Which events a request gives rise to: one to three of them, as `policies/events/` describes them. Pure.

Passwords, session tokens and what somebody typed as a name are in no event.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import orjson

from harness.model.time import rfc3339
from harness.stack.subject.logs import SERVICE, Json, Record
from harness.stack.subject.metrics import Action

KINDS: Final = ("user", "business", "security", "performance")
_USER_AGENT_LIMIT = 256
_METHOD_LIMIT = 16
_MOST_TOLD_OF_AN_ANSWER = 64 * 1024

_USER_ACTIONS: Final[Mapping[Action | None, str]] = {
    Action.REGISTER: "register",
    Action.LOGIN: "login",
    Action.LOGOUT: "logout",
    Action.LIST_POSTS: "view",
    Action.READ_POST: "view",
    Action.LIST_COMMENTS: "view",
}
_CREATIONS: Final[Mapping[Action | None, tuple[str, str, str]]] = {
    Action.CREATE_POST: ("post", "post_created", "id"),
    Action.CREATE_COMMENT: ("comment", "comment_created", "id"),
    Action.UPLOAD_PREVIEW: ("preview", "preview_uploaded", "number"),
}


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as events are made of it.

    Args:
        record: what the log tells of it.
        method: HTTP's.
        endpoint: the route's template.
        answer: the body of the answer, where it says who or what came to be.
        at: when it was answered, Unix seconds.
    """

    record: Record
    method: str
    endpoint: str
    answer: bytes
    at: float


@dataclass(frozen=True, slots=True)
class Happening:
    """An event without its identity, which it gets when it is announced."""

    kind: str
    record: dict[str, Json]


def happenings(seen: Seen, environment: str) -> list[Happening]:
    """The events of a request, the one about its duration last."""
    found = [*_user(seen, environment), *_business(seen, environment), *_security(seen, environment)]
    performance = _event(seen, environment, "performance", "request")
    performance["status"] = seen.record.status
    performance["duration"] = round(seen.record.duration_seconds * 1000, 3)
    return [*found, Happening("performance", performance)]


def _user(seen: Seen, environment: str) -> list[Happening]:
    action = _USER_ACTIONS.get(_action(seen))
    if action is None or seen.record.status >= 400:
        return []
    event = _event(seen, environment, "user", action)
    if event["userId"] is None and action in {"register", "login"}:
        # Who logs in has no session yet: the answer says who that is.
        event["userId"] = None if (who := _number(seen.answer, "id")) is None else str(who)
    return [Happening("user", event)]


def _business(seen: Seen, environment: str) -> list[Happening]:
    created = _CREATIONS.get(_action(seen))
    if created is None or seen.record.status >= 400:
        return []
    what, action, field = created
    event = _event(seen, environment, "business", action)
    event["object"] = {"type": what, "id": _number(seen.answer, field)}
    return [Happening("business", event)]


def _security(seen: Seen, environment: str) -> list[Happening]:
    if seen.record.status not in {401, 403}:
        return []
    action = "login_failed" if _action(seen) is Action.LOGIN else "access_denied"
    event = _event(seen, environment, "security", action)
    event["status"] = seen.record.status
    return [Happening("security", event)]


def _event(seen: Seen, environment: str, kind: str, action: str) -> dict[str, Json]:
    """What every event has."""
    record = seen.record
    return {
        "timestamp": rfc3339(seen.at),  # to the microsecond: a point of InfluxDB is told apart by its instant
        "kind": kind,
        "action": action,
        "service": SERVICE,
        "environment": environment,
        "userId": None if record.user_id is None else str(record.user_id),
        "ip": record.ip,
        "userAgent": _user_agent(record.user_agent),
        "method": seen.method[:_METHOD_LIMIT],
        "endpoint": seen.endpoint,
        "metadata": {"sessionId": record.session_id, "requestId": record.request_id},
    }


def _action(seen: Seen) -> Action | None:
    try:
        return Action(seen.record.action)
    except ValueError:
        return None


def _number(answer: bytes, field: str) -> int | None:
    """A number in the answer; None where it has none."""
    if len(answer) > _MOST_TOLD_OF_AN_ANSWER:
        return None
    try:
        told = orjson.loads(answer)
    except orjson.JSONDecodeError:
        return None
    value = told.get(field) if isinstance(told, dict) else None
    return value if isinstance(value, int) else None


def _user_agent(text: str | None) -> str | None:
    if text is None:
        return None
    # A header may hold any byte; what is no text would be no JSON.
    text = text.encode(errors="replace").decode()
    return text if len(text) <= _USER_AGENT_LIMIT else text[:_USER_AGENT_LIMIT] + "…"
