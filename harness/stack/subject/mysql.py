"""Users, posts and comments in MariaDB or MySQL.

The promise to the handlers: an answer or a `StorageError` within `DEADLINE_SECONDS`, whatever the database does, and no
state that has to be reset when it comes back. A connection that failed for any reason but the server's own "no" is
thrown away, the pool opens the next one when it is needed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import aiomysql
from pymysql.err import Error as MySQLError
from pymysql.err import InterfaceError

from harness.stack.subject import schema
from harness.stack.subject.domain import Comment, NameTaken, NoSuchPost, Post, QueryFailed, Session, Unavailable, User
from harness.stack.subject.settings import DatabaseAddress

CONNECT_SECONDS: Final = 1.0
"""How long a connection may take to open."""

LOCK_SECONDS: Final = 3
"""How long a statement waits for a lock; whole seconds, as the server takes them."""

DEADLINE_SECONDS: Final = LOCK_SECONDS + 0.2
"""How long one statement may take in all, waiting for a connection included. A migration that has a table locked for
two or three seconds makes answers late and not wrong: late is felt and told apart from broken."""

POOL_SIZE: Final = 4
"""Connections an instance holds at most: several instances of a lane stay far below MariaDB's default of 151."""

_DUPLICATE = 1062
_NO_PARENT_ROW = 1452
# Errors by which the server says that it cannot now, not that the statement is wrong: too many connections (of all, of
# this user), shutting down, connection killed, lock wait timed out, gone away, lost.
_CANNOT_NOW = frozenset({1040, 1203, 1053, 1927, 1205, 2006, 2013})

Value = int | str | datetime
"""What a statement may be given."""


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement with its name in metrics; `secret` are the positions of parameters that nobody may read in a log."""

    name: str
    sql: str
    secret: frozenset[int] = frozenset()

    def shown(self, parameters: Sequence[Value]) -> tuple[str, ...]:
        """The parameters as a log may show them."""
        return tuple("***" if place in self.secret else str(value) for place, value in enumerate(parameters))

    def redacted(self, message: str, parameters: Sequence[Value]) -> str:
        """A message of the server without the secrets that it may quote (a syntax error quotes the statement)."""
        for place in self.secret:
            message = message.replace(str(parameters[place]), "***")
        return message


_READY = Statement("ready", "SELECT version FROM schema_migrations WHERE version = %s")
_ADD_USER = Statement(
    "add_user", "INSERT INTO users (name, password_hash, created_at) VALUES (%s, %s, %s)", frozenset({1})
)
_FIND_USER = Statement("find_user", "SELECT id, name, password_hash FROM users WHERE name = %s")
_LIST_POSTS = Statement(
    "list_posts",
    "SELECT p.id, u.name, p.title, p.body, p.created_at FROM posts p JOIN users u ON u.id = p.user_id"
    " ORDER BY p.id DESC LIMIT %s",
)
_FIND_POST = Statement(
    "find_post",
    "SELECT p.id, u.name, p.title, p.body, p.created_at FROM posts p JOIN users u ON u.id = p.user_id WHERE p.id = %s",
)
_ADD_POST = Statement("add_post", "INSERT INTO posts (user_id, title, body, created_at) VALUES (%s, %s, %s, %s)")
_LIST_COMMENTS = Statement(
    "list_comments",
    "SELECT c.id, c.post_id, u.name, c.body, c.created_at FROM comments c JOIN users u ON u.id = c.user_id"
    " WHERE c.post_id = %s ORDER BY c.id LIMIT %s",
)
_ADD_COMMENT = Statement(
    "add_comment", "INSERT INTO comments (post_id, user_id, body, created_at) VALUES (%s, %s, %s, %s)"
)
STATEMENTS: Final = (
    _READY, _ADD_USER, _FIND_USER, _LIST_POSTS, _FIND_POST, _ADD_POST, _LIST_COMMENTS, _ADD_COMMENT,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Answer:
    rows: Sequence[Sequence[object]]
    inserted: int


class MySQLStore:
    """`domain.Store` over a small pool. Nothing is connected before the first statement.

    Args:
        address: where the database is.
        observe: told the name of every statement and how many seconds it took, failed or not.
    """

    def __init__(self, address: DatabaseAddress, observe: Callable[[str, float], None]) -> None:
        self._address = address
        self._observe = observe
        self._pool: aiomysql.Pool | None = None

    async def close(self) -> None:
        """Drops every connection at once."""
        if self._pool is not None:
            self._pool.terminate()
            await self._pool.wait_closed()

    async def prepare(self) -> None:
        """Creates the tables and the rows that they start with, unless that was done before.

        Raises:
            StorageError: the database is not there yet; try again.
        """
        await self._run(Statement("prepare", schema.MARKER))
        if (await self._run(_READY, schema.VERSION)).rows:
            return
        for sql in schema.TABLES:
            await self._run(Statement("prepare", sql))
        for sql, parameters in schema.SEED:
            await self._run(Statement("prepare", sql), *parameters)

    async def ping(self) -> None:
        """Returns when the database answers and its tables were made."""
        if not (await self._run(_READY, schema.VERSION)).rows:
            raise QueryFailed("the tables are not made yet", code="NOT_PREPARED", query=_READY.sql)

    async def add_user(self, name: str, password_hash: str) -> User:
        """Adds a user."""
        try:
            answer = await self._run(_ADD_USER, name, password_hash, _now())
        except QueryFailed as error:
            if error.code == str(_DUPLICATE):
                raise NameTaken(name) from None
            raise
        return User(answer.inserted, name, password_hash)

    async def find_user(self, name: str) -> User | None:
        """The user of this name."""
        rows = (await self._run(_FIND_USER, name)).rows
        return User(_int(rows[0][0]), str(rows[0][1]), str(rows[0][2])) if rows else None

    async def list_posts(self, limit: int) -> Sequence[Post]:
        """The newest posts, newest first."""
        return [_post(row) for row in (await self._run(_LIST_POSTS, limit)).rows]

    async def find_post(self, post_id: int) -> Post | None:
        """One post."""
        rows = (await self._run(_FIND_POST, post_id)).rows
        return _post(rows[0]) if rows else None

    async def add_post(self, author: Session, title: str, body: str) -> Post:
        """Adds a post."""
        now = _now()
        answer = await self._run(_ADD_POST, author.user_id, title, body, now)
        return Post(answer.inserted, author.user_name, title, body, now)

    async def list_comments(self, post_id: int, limit: int) -> Sequence[Comment]:
        """The first comments of a post, oldest first."""
        rows = (await self._run(_LIST_COMMENTS, post_id, limit)).rows
        return [Comment(_int(row[0]), _int(row[1]), str(row[2]), str(row[3]), _instant(row[4])) for row in rows]

    async def add_comment(self, post_id: int, author: Session, body: str) -> Comment:
        """Adds a comment."""
        now = _now()
        try:
            answer = await self._run(_ADD_COMMENT, post_id, author.user_id, body, now)
        except QueryFailed as error:
            if error.code == str(_NO_PARENT_ROW):
                raise NoSuchPost(post_id) from None
            raise
        return Comment(answer.inserted, post_id, author.user_name, body, now)

    async def _run(self, statement: Statement, *parameters: Value) -> _Answer:
        started = time.perf_counter()
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                return await self._ask(statement, parameters)
        except (MySQLError, OSError, asyncio.IncompleteReadError) as error:
            # TimeoutError is an OSError: a deadline that passed is the network's fault as well.
            seconds = time.perf_counter() - started
            code, message = _told(error)
            raise _failure(error, code)(
                statement.redacted(message, parameters),
                code=code,
                query=statement.sql,
                parameters=statement.shown(parameters),
                seconds=seconds,
            ) from (None if statement.secret else error)
        finally:
            self._observe(statement.name, time.perf_counter() - started)

    async def _ask(self, statement: Statement, parameters: tuple[Value, ...]) -> _Answer:
        pool = await self._opened()
        try:
            connection = await pool.acquire()
        except MySQLError as error:
            # Nothing that is said while the connection opens (no such user, too many of us) is about the statement.
            raise ConnectionError(*error.args) from error
        whole = False
        try:
            async with connection.cursor() as cursor:
                await cursor.execute(statement.sql, parameters)
                answer = _Answer(await cursor.fetchall(), int(cursor.lastrowid or 0))
            whole = True
        except MySQLError as error:
            whole = not isinstance(error, InterfaceError) and _number(error) not in _CANNOT_NOW
            raise
        else:
            return answer
        finally:
            if not whole:
                connection.close()
            pool.release(connection)

    async def _opened(self) -> aiomysql.Pool:
        if self._pool is None:
            self._pool = await aiomysql.create_pool(
                minsize=0,
                maxsize=POOL_SIZE,
                host=self._address.host,
                port=self._address.port,
                user=self._address.user,
                password=self._address.password,
                db=self._address.database,
                charset="utf8mb4",
                autocommit=True,
                connect_timeout=CONNECT_SECONDS,
                # A statement that waits for a lock gives up before we do; notes ("table exists") are no warnings.
                init_command=(
                    f"SET SESSION lock_wait_timeout = {LOCK_SECONDS},"
                    f" innodb_lock_wait_timeout = {LOCK_SECONDS}, sql_notes = 0"
                ),
            )
        return self._pool


def _number(error: BaseException) -> int:
    return error.args[0] if error.args and isinstance(error.args[0], int) else 0


def _told(error: Exception) -> tuple[str, str]:
    """Code and message of a driver's or the network's exception."""
    if isinstance(error, TimeoutError):
        return "TIMEOUT", f"no answer within {DEADLINE_SECONDS:g} s"
    number = _number(error)
    message = str(error.args[1]) if len(error.args) > 1 else str(error) or type(error).__name__
    return (str(number) if number else type(error).__name__), message


def _failure(error: Exception, code: str) -> type[Unavailable | QueryFailed]:
    if not isinstance(error, MySQLError) or isinstance(error, InterfaceError):
        return Unavailable
    return Unavailable if code.isdecimal() and int(code) in _CANNOT_NOW else QueryFailed


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


def _instant(value: object) -> datetime:
    if not isinstance(value, datetime):
        raise TypeError(f"the driver gave {value!r} for an instant")
    return value


def _int(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(f"the driver gave {value!r} for a number")
    return value


def _post(row: Sequence[object]) -> Post:
    return Post(_int(row[0]), str(row[1]), str(row[2]), str(row[3]), _instant(row[4]))
