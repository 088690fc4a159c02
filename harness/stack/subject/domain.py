"""What the application is about, and the seams to where it keeps things.

Handlers know these types and Protocols alone; `mysql`, `sessions` and `memory` stand behind them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who may log in; the hash is not shown by `repr`."""

    id: int
    name: str
    password_hash: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Session:
    """A log-in that is still valid. `id` names it in logs and is not the secret that opens it."""

    id: str
    user_id: int
    user_name: str


@dataclass(frozen=True, slots=True)
class Post:
    """A post as readers see it."""

    id: int
    author: str
    title: str
    body: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment on a post."""

    id: int
    post_id: int
    author: str
    body: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Active:
    """How many sessions were used, and by how many users, in the last five minutes."""

    sessions: int
    users: int


class StorageError(Exception):
    """The database or the cache did not do what was asked.

    Args:
        message: what it said; without secrets.
        code: its own code for this (MySQL's error number), or the kind of failure of the network.
        query: the statement, with placeholders.
        parameters: its parameters, with secrets replaced by `***`.
        seconds: how long it took until it failed.
    """

    status = 500

    def __init__(
        self, message: str, *, code: str, query: str = "", parameters: Sequence[str] = (), seconds: float = 0.0
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.query = query
        self.parameters = tuple(parameters)
        self.seconds = seconds


class Unavailable(StorageError):
    """It cannot be reached, does not let us in, or does not answer in time: 503, try again later."""

    status = 503


class QueryFailed(StorageError):
    """It was reached and could not do what was asked, e.g. because a table is missing: 500."""


class Refused(Exception):
    """A request that the application declines, with the HTTP status and the sentence that it answers."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


class NameTaken(Exception):
    """Another user has this name."""


class NoSuchPost(Exception):
    """There is no such post."""


class Store(Protocol):
    """Where users, posts and comments are kept. Every method may raise `StorageError`."""

    async def ping(self) -> None:
        """Returns when the store answers and its tables are in place."""

    async def add_user(self, name: str, password_hash: str) -> User:
        """Adds a user.

        Raises:
            NameTaken: somebody else has this name.
        """

    async def find_user(self, name: str) -> User | None:
        """The user of this name."""

    async def list_posts(self, limit: int) -> Sequence[Post]:
        """The newest posts, newest first."""

    async def find_post(self, post_id: int) -> Post | None:
        """One post."""

    async def add_post(self, author: Session, title: str, body: str) -> Post:
        """Adds a post."""

    async def list_comments(self, post_id: int, limit: int) -> Sequence[Comment]:
        """The first comments of a post, oldest first; empty for a post without any, or that does not exist."""

    async def add_comment(self, post_id: int, author: Session, body: str) -> Comment:
        """Adds a comment.

        Raises:
            NoSuchPost: there is no such post.
        """


class Sessions(Protocol):
    """Where log-ins are kept. Every method may raise `StorageError`."""

    async def ping(self) -> None:
        """Returns when sessions can be read."""

    async def open(self, user: User) -> str:
        """Opens a session; the secret token that stands for it."""

    async def find(self, token: str) -> Session | None:
        """The session of a token, and notes that it was used; None if it ended or never was."""

    async def close(self, token: str) -> None:
        """Ends a session; nothing if there is none."""

    async def active(self) -> Active:
        """How many sessions and users were active of late."""


class PostCache(Protocol):
    """Posts that were read of late. Every method may raise `StorageError`."""

    async def get(self, post_id: int) -> Post | None:
        """The post, if it is cached."""

    async def put(self, post: Post) -> None:
        """Caches a post for a short while."""
