"""The event collector: a program of its own, `python -m harness.stack.collector` (docs/events.md).

Applications post their events here in batches. An event is checked against the schema of its kind, kept on disk
before it is acknowledged, and sent on to ClickHouse until ClickHouse has it. What is posted twice is kept once: an
event is who its `metadata.sequence` says it is.

    settings      the command line                        schemas    what an event of each kind must look like
    intake        the endpoints, and what limits them     spool      events on disk, until they are sent
    commits       many batches, one fsync                 letters    what was rejected, and why
    forwarder     on to ClickHouse, for ever              metrics    what Prometheus scrapes
    bodies        the events of a body                    __main__   the process

`sqlite3.Error` never leaves `spool`, where it becomes `SpoolError`; this is the program's own exception and becomes an
HTTP status, so it is no part of the harness's error tree.
"""
