"""The three stores in memory, for tests: the same promises without a database, and failures at will.

Set `failure` to what every method shall raise, and to None to let it work again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count

from harness.stack.subject.domain import (
    Active,
    Comment,
    NameTaken,
    NoSuchPost,
    Post,
    Session,
    StorageError,
    User,
)

_EPOCH = datetime(2025, 1, 1)  # naive UTC, as the database gives it


@dataclass
class _Failing:
    failure: StorageError | None = None

    def _check(self) -> None:
        if self.failure is not None:
            raise self.failure


@dataclass
class MemoryStore(_Failing):
    """`domain.Store` in memory, with one post to read."""

    users: dict[str, User] = field(default_factory=dict)
    posts: dict[int, Post] = field(default_factory=lambda: {1: Post(1, "ada", "Welcome", "Say hello.", _EPOCH)})
    comments: list[Comment] = field(default_factory=list)
    reads: int = 0

    async def ping(self) -> None:
        """Returns, or fails as it was told to."""
        self._check()

    async def add_user(self, name: str, password_hash: str) -> User:
        """Adds a user."""
        self._check()
        if name in self.users:
            raise NameTaken(name)
        self.users[name] = User(len(self.users) + 10, name, password_hash)
        return self.users[name]

    async def find_user(self, name: str) -> User | None:
        """The user of this name."""
        self._check()
        return self.users.get(name)

    async def list_posts(self, limit: int) -> Sequence[Post]:
        """The newest posts, newest first."""
        self._check()
        return sorted(self.posts.values(), key=lambda post: -post.id)[:limit]

    async def find_post(self, post_id: int) -> Post | None:
        """One post; counts the read."""
        self._check()
        self.reads += 1
        return self.posts.get(post_id)

    async def add_post(self, author: Session, title: str, body: str) -> Post:
        """Adds a post."""
        self._check()
        post = Post(max(self.posts, default=0) + 1, author.user_name, title, body, _EPOCH)
        self.posts[post.id] = post
        return post

    async def list_comments(self, post_id: int, limit: int) -> Sequence[Comment]:
        """The first comments of a post."""
        self._check()
        return [comment for comment in self.comments if comment.post_id == post_id][:limit]

    async def add_comment(self, post_id: int, author: Session, body: str) -> Comment:
        """Adds a comment."""
        self._check()
        if post_id not in self.posts:
            raise NoSuchPost(post_id)
        self.comments.append(Comment(len(self.comments) + 1, post_id, author.user_name, body, _EPOCH))
        return self.comments[-1]


@dataclass
class MemorySessions(_Failing):
    """`domain.Sessions` in memory; every session counts as active."""

    open_sessions: dict[str, Session] = field(default_factory=dict)
    _numbers: count[int] = field(default_factory=lambda: count(1))

    async def ping(self) -> None:
        """Returns, or fails as it was told to."""
        self._check()

    async def open(self, user: User) -> str:
        """Opens a session."""
        self._check()
        number = next(self._numbers)
        self.open_sessions[f"token-{number}"] = Session(f"session-{number}", user.id, user.name)
        return f"token-{number}"

    async def find(self, token: str) -> Session | None:
        """The session of a token."""
        self._check()
        return self.open_sessions.get(token)

    async def close(self, token: str) -> None:
        """Ends a session."""
        self._check()
        self.open_sessions.pop(token, None)

    async def active(self) -> Active:
        """All that are open."""
        self._check()
        sessions = self.open_sessions.values()
        return Active(len(sessions), len({session.user_id for session in sessions}))


@dataclass
class MemoryPostCache(_Failing):
    """`domain.PostCache` in memory; nothing expires."""

    posts: dict[int, Post] = field(default_factory=dict)

    async def get(self, post_id: int) -> Post | None:
        """The post, if it is cached."""
        self._check()
        return self.posts.get(post_id)

    async def put(self, post: Post) -> None:
        """Caches a post."""
        self._check()
        self.posts[post.id] = post
