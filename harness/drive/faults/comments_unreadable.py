"""Some errors from a real cause: a migration renamed a column that only reading comments asks for."""

from __future__ import annotations

from harness.drive.database import Rename
from harness.drive.migration import BadMigration


class CommentsUnreadable(BadMigration):
    """`ALTER TABLE comments RENAME COLUMN id TO comment_id`; whoever writes a comment never names that column."""

    id = "comments-unreadable"
    summary = "A column of the comments is renamed, as by a bad migration: reading them fails with 5xx, all else works."
    rename = Rename(
        "column",
        "SELECT column_name FROM information_schema.columns"
        " WHERE table_schema = DATABASE() AND table_name = 'comments' AND column_name IN (%s, %s)",
        # Instantly or not at all: the table is not copied, whatever its size.
        "ALTER TABLE comments RENAME COLUMN `{away}` TO `{to}`, ALGORITHM=INSTANT",
    )
    name = "id"
    away = "comment_id"
    path = "/api/posts/1/comments"
    called = "the column of the comments"
    # The plan's condition: error ratio at or above 5 %.
    share = 0.05
