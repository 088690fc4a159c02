"""The event collector: a program of its own, `python -m harness.stack.collector` (docs/events.md).

Applications post their events here in batches. An event is checked against the schema of its kind, kept on disk
before it is acknowledged, and sent on to ClickHouse until ClickHouse has it; what is a time series goes to InfluxDB as
well. What is posted twice is kept once: an event is who its `metadata.sequence` says it is.

    settings      the command line                        schemas    what an event of each kind must look like
    intake        the endpoints, and what limits them     spool      events on disk, until they are sent
    commits       many batches, one fsync                 outlets    how far each destination has come
    forwarder     on to a destination, for ever           database   SQLite, and its errors as sentences
    clickhouse    rows                                    influxdb   points, written as `points` says
    bodies        the events of a body                    letters    what was rejected, and why
    __main__      the process                             metrics    what Prometheus scrapes

`sqlite3.Error` never leaves `database`, where it becomes `SpoolError`; this is the program's own exception and becomes
an HTTP status, so it is no part of the harness's error tree.
"""
