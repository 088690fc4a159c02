"""The tables of the application and the rows that they start with.

Every statement may run twice. The row in `schema_migrations` comes last and says that all of it ran: an instance that
finds it touches nothing, so that a start while a table is missing (which is an incident, not a new installation) does
not put an empty table in its place.
"""

from __future__ import annotations

from typing import Final

from harness.stack.subject.passwords import LOCKED

VERSION: Final = 1

MARKER: Final = """\
CREATE TABLE IF NOT EXISTS schema_migrations (
  version INT NOT NULL PRIMARY KEY,
  applied_at DATETIME(6) NOT NULL
) ENGINE=InnoDB"""

TABLES: Final = (
    """\
CREATE TABLE IF NOT EXISTS users (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  name VARCHAR(32) NOT NULL,
  password_hash VARCHAR(255) NOT NULL,
  created_at DATETIME(6) NOT NULL,
  UNIQUE KEY users_name (name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4""",
    # The list of posts is read newest first by its primary key, which grows with time.
    """\
CREATE TABLE IF NOT EXISTS posts (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  user_id BIGINT UNSIGNED NOT NULL,
  title VARCHAR(200) NOT NULL,
  body TEXT NOT NULL,
  created_at DATETIME(6) NOT NULL,
  KEY posts_user (user_id),
  CONSTRAINT posts_author FOREIGN KEY (user_id) REFERENCES users (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4""",
    """\
CREATE TABLE IF NOT EXISTS comments (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  post_id BIGINT UNSIGNED NOT NULL,
  user_id BIGINT UNSIGNED NOT NULL,
  body TEXT NOT NULL,
  created_at DATETIME(6) NOT NULL,
  KEY comments_post (post_id, id),
  KEY comments_user (user_id),
  CONSTRAINT comments_of_post FOREIGN KEY (post_id) REFERENCES posts (id),
  CONSTRAINT comments_author FOREIGN KEY (user_id) REFERENCES users (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4""",
)

# Seeded users cannot log in: nobody has their password.
_SEEDED_USERS: Final = ((1, "ada"), (2, "grace"), (3, "linus"))
_SEEDED_POSTS: Final = (
    (1, 1, "Welcome to the community", "Say hello, and read the rules once."),
    (2, 2, "How do you read a flame graph?", "I can find the widest frame. What do I do then?"),
    (3, 3, "Release notes", "Faster lists, fewer surprises."),
)
_SEEDED_COMMENTS: Final = ((1, 1, 2, "Hello!"), (2, 2, 1, "Look at what lies under it."), (3, 2, 3, "Width is time."))

# `ON DUPLICATE KEY UPDATE id = id` leaves what is there and, unlike INSERT IGNORE, hides no other error.
_ADD_USER: Final = """\
INSERT INTO users (id, name, password_hash, created_at) VALUES (%s, %s, %s, UTC_TIMESTAMP(6))
ON DUPLICATE KEY UPDATE id = id"""
_ADD_POST: Final = """\
INSERT INTO posts (id, user_id, title, body, created_at) VALUES (%s, %s, %s, %s, UTC_TIMESTAMP(6))
ON DUPLICATE KEY UPDATE id = id"""
_ADD_COMMENT: Final = """\
INSERT INTO comments (id, post_id, user_id, body, created_at) VALUES (%s, %s, %s, %s, UTC_TIMESTAMP(6))
ON DUPLICATE KEY UPDATE id = id"""
_MARK: Final = """\
INSERT INTO schema_migrations (version, applied_at) VALUES (%s, UTC_TIMESTAMP(6))
ON DUPLICATE KEY UPDATE version = version"""

SEED: Final[tuple[tuple[str, tuple[int | str, ...]], ...]] = (
    *((_ADD_USER, (user_id, name, LOCKED)) for user_id, name in _SEEDED_USERS),
    *((_ADD_POST, row) for row in _SEEDED_POSTS),
    *((_ADD_COMMENT, row) for row in _SEEDED_COMMENTS),
    (_MARK, (VERSION,)),
)
