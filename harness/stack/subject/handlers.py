"""The endpoints: what a request asks for, and the JSON that it gets.

`ROUTES` is the whole surface under `/api`; the paths in it are the `endpoint` of metrics and logs. `middleware` turns
what is raised here into statuses, so a handler tells the good way through alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from aiohttp import web

from harness.stack.subject.domain import (
    Comment,
    NameTaken,
    NoSuchPost,
    Post,
    PostCache,
    Refused,
    Session,
    Sessions,
    StorageError,
    Store,
)
from harness.stack.subject.metrics import Action, Metrics
from harness.stack.subject.passwords import hash_password, verify_password
from harness.stack.subject.previews import Previews

COOKIE: Final = "session"
LIST_LIMIT: Final = 20
COMMENT_LIMIT: Final = 50
_NAME = re.compile(r"[A-Za-z0-9_-]{3,32}")
_ID_DIGITS = 18


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the session if there is one, or why that could not be found out."""

    session: Session | None = None
    unknown: StorageError | None = None

    def needed(self) -> Session:
        """The session.

        Raises:
            StorageError: sessions cannot be read.
            Refused: nobody is logged in.
        """
        if self.unknown is not None:
            raise self.unknown
        if self.session is None:
            raise Refused(401, "log in first")
        return self.session


CALLER: Final[web.RequestKey[Caller]] = web.RequestKey("caller", Caller)


@dataclass(frozen=True, slots=True)
class Api:
    """The endpoints over their stores."""

    store: Store
    sessions: Sessions
    cache: PostCache
    metrics: Metrics
    previews: Previews

    async def register(self, request: web.Request) -> web.Response:
        """A new user: 201, or 409 when the name is taken."""
        name, password = await _credentials(request)
        if _NAME.fullmatch(name) is None:
            raise Refused(400, "a name has 3 to 32 letters, digits, _ or -")
        if len(password) < 8:
            raise Refused(400, "a password has at least 8 characters")
        try:
            user = await self.store.add_user(name, await hash_password(password))
        except NameTaken:
            raise Refused(409, "this name is taken") from None
        return web.json_response({"id": user.id, "name": user.name}, status=201)

    async def login(self, request: web.Request) -> web.Response:
        """Opens a session, in a cookie that scripts cannot read; 401 for a wrong name or password."""
        name, password = await _credentials(request)
        user = await self.store.find_user(name)
        right = await verify_password(password, user.password_hash if user else None)
        if user is None or not right:
            self.metrics.login_failed()
            raise Refused(401, "wrong name or password")
        token = await self.sessions.open(user)
        response = web.json_response({"id": user.id, "name": user.name})
        # Not `secure`: the stand-in is served without TLS, on loopback.
        response.set_cookie(COOKIE, token, httponly=True, samesite="Lax", path="/")
        return response

    async def logout(self, request: web.Request) -> web.Response:
        """Ends the session and drops its previews: 204, also when there was none."""
        token = request.cookies.get(COOKIE)
        if token:
            await self.sessions.close(token)
        if (session := request[CALLER].session) is not None:
            self.previews.end(session)
        response = web.Response(status=204)
        response.del_cookie(COOKIE, path="/")
        return response

    async def list_posts(self, request: web.Request) -> web.Response:  # noqa: ARG002  # every endpoint takes a request
        """The newest posts, always from the database: a broken table is felt at once."""
        posts = await self.store.list_posts(LIST_LIMIT)
        return web.json_response({"posts": [_post(post) for post in posts]})

    async def create_post(self, request: web.Request) -> web.Response:
        """A new post: 201."""
        author = request[CALLER].needed()
        body = await _object(request)
        post = await self.store.add_post(author, _text(body, "title", 200), _text(body, "body", 10_000))
        return web.json_response(_post(post), status=201)

    async def read_post(self, request: web.Request) -> web.Response:
        """One post, from the cache or else from the database; a cache that is down only costs time."""
        post_id = _id(request)
        cache_up = True
        try:
            post = await self.cache.get(post_id)
        except StorageError:
            self.metrics.storage_error(unavailable=True)
            cache_up, post = False, None
        self.metrics.cache(hit=post is not None)
        if post is None:
            post = await self.store.find_post(post_id)
            if post is None:
                raise Refused(404, "there is no such post")
            if cache_up:
                await self._keep(post)
        return web.json_response(_post(post))

    async def list_comments(self, request: web.Request) -> web.Response:
        """The comments of a post."""
        comments = await self.store.list_comments(_id(request), COMMENT_LIMIT)
        return web.json_response({"comments": [_comment(comment) for comment in comments]})

    async def create_comment(self, request: web.Request) -> web.Response:
        """A new comment: 201, or 404 when there is no such post."""
        author = request[CALLER].needed()
        body = await _object(request)
        try:
            comment = await self.store.add_comment(_id(request), author, _text(body, "body", 2_000))
        except NoSuchPost:
            raise Refused(404, "there is no such post") from None
        return web.json_response(_comment(comment), status=201)

    async def upload_preview(self, request: web.Request) -> web.Response:
        """A preview of an image, as the body itself: 201 with its number; 411 without a length, 415 for no image."""
        owner = request[CALLER].needed()
        if not request.content_type.startswith("image/"):
            raise Refused(415, "a preview is an image")
        if request.content_length is None:
            raise Refused(411, "say how long the preview is")
        number = await self.previews.keep(owner, request.content_length, request.content.iter_any())
        return web.json_response({"number": number}, status=201)

    async def _keep(self, post: Post) -> None:
        try:
            await self.cache.put(post)
        except StorageError:
            self.metrics.storage_error(unavailable=True)


Handler = Callable[[Api, web.Request], Awaitable[web.Response]]


@dataclass(frozen=True, slots=True)
class Route:
    """One endpoint: `component` and `action` name it in logs, `success` is the status of the good way through."""

    method: str
    path: str
    component: str
    action: Action
    success: int
    handler: Handler


ROUTES: Final = (
    Route("POST", "/api/auth/register", "auth", Action.REGISTER, 201, Api.register),
    Route("POST", "/api/auth/login", "auth", Action.LOGIN, 200, Api.login),
    Route("POST", "/api/auth/logout", "auth", Action.LOGOUT, 204, Api.logout),
    Route("GET", "/api/posts", "posts", Action.LIST_POSTS, 200, Api.list_posts),
    Route("POST", "/api/posts", "posts", Action.CREATE_POST, 201, Api.create_post),
    Route("GET", "/api/posts/{id}", "posts", Action.READ_POST, 200, Api.read_post),
    Route("GET", "/api/posts/{id}/comments", "comments", Action.LIST_COMMENTS, 200, Api.list_comments),
    Route("POST", "/api/posts/{id}/comments", "comments", Action.CREATE_COMMENT, 201, Api.create_comment),
    Route("POST", "/api/previews", "previews", Action.UPLOAD_PREVIEW, 201, Api.upload_preview),
)


async def _object(request: web.Request) -> Mapping[str, object]:
    try:
        body = await request.json()
    except (json.JSONDecodeError, UnicodeDecodeError, LookupError):
        raise Refused(400, "the body is not JSON") from None
    if not isinstance(body, dict):
        raise Refused(400, "the body is not a JSON object")
    return body


async def _credentials(request: web.Request) -> tuple[str, str]:
    body = await _object(request)
    return _text(body, "name", 32), _text(body, "password", 128)


def _text(body: Mapping[str, object], field: str, limit: int) -> str:
    value = body.get(field)
    if not isinstance(value, str) or not value.strip():
        raise Refused(400, f"the field {field} is missing or empty")
    if len(value) > limit:
        raise Refused(400, f"the field {field} has more than {limit} characters")
    try:
        value.encode()
    except UnicodeEncodeError:
        # JSON can spell half of a surrogate pair; no store takes it.
        raise Refused(400, f"the field {field} is not text") from None
    return value


def _id(request: web.Request) -> int:
    text = request.match_info["id"]
    if not (text.isascii() and text.isdecimal() and len(text) <= _ID_DIGITS):
        raise Refused(404, "there is no such post")
    return int(text)


def _instant(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds") + "Z"


def _post(post: Post) -> dict[str, str | int]:
    return {
        "id": post.id,
        "author": post.author,
        "title": post.title,
        "body": post.body,
        "createdAt": _instant(post.created_at),
    }


def _comment(comment: Comment) -> dict[str, str | int]:
    return {
        "id": comment.id,
        "postId": comment.post_id,
        "author": comment.author,
        "body": comment.body,
        "createdAt": _instant(comment.created_at),
    }
