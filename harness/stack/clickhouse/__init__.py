"""ClickHouse where no server of it can be had: its engine in a process of our own, behind its own HTTP interface.

`python -m harness.stack.clickhouse` opens the current engine (chdb is ClickHouse as a library) over one folder, which
one process at a time may own, and answers as a server does: `clickhouse-connect` and the event collector do not know
the difference. What is real and what is ours: the tables, their SQL, TTL, BACKUP and RESTORE are ClickHouse's; the HTTP
around them is ours, and it runs one statement at a time.

    engine      the library, in a thread            interface   what HTTP asks of it
    asking      a question to any ClickHouse        setting_up  the SQL files of a policy, run in their order
    statements  the statements of an SQL file       __main__    the process
"""
