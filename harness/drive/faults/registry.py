"""Every fault that there is; `tests/drive/test_faults.py` holds id, file, doc page and test cases together."""

from __future__ import annotations

from harness.drive.faults import Fault
from harness.drive.faults.database_refused import DatabaseRefused
from harness.drive.faults.posts_table_missing import PostsTableMissing
from harness.drive.faults.server_killed import ServerKilled

FAULTS: tuple[Fault, ...] = (ServerKilled(), DatabaseRefused(), PostsTableMissing())
