"""Errors from a real cause: the table of posts is gone under its name, as after a bad migration."""

from __future__ import annotations

from harness.drive.database import Rename
from harness.drive.migration import BadMigration


class PostsTableMissing(BadMigration):
    """`RENAME TABLE posts TO posts_missing`; the database follows foreign keys by itself, both ways."""

    id = "posts-table-missing"
    summary = "The table of posts is renamed away, as by a bad migration, so that requests for posts fail with 5xx."
    rename = Rename(
        "table",
        "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name IN (%s, %s)",
        "RENAME TABLE `{away}` TO `{to}`",
    )
    name = "posts"
    away = "posts_missing"
    path = "/api/posts"
    called = "the table of posts"
    # The critical one of the plan's two conditions; posts are most of what the load asks for.
    share = 0.25
