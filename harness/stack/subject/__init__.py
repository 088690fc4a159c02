"""The shipped stand-in for the application under watch; a team replaces it by its own.

"Community Platform": people log in, write posts and comments. It is one small web application over a real MariaDB and
a real Redis, started as `python -m harness.stack.subject` and configured by environment variables alone, so that the
stack knows nothing of it that it would not know of a foreign program.

    settings    the environment variables, read once
    domain      what the application is about: users, posts, comments, and the seams to where they are kept
    mysql       posts, comments and users in MariaDB          schema    its tables and seed rows
    sessions    sessions and the cache of posts in Redis      memory    all of it in memory, for tests
    passwords   how a password is kept
    metrics     what Prometheus scrapes                       logs      what Filebeat reads
    happenings  which events a request gives rise to      events    their way to the collector
    previews    images that wait to be posted, in memory
    handlers    the endpoints                                 middleware  what surrounds every one of them
    app         puts the parts together                       __main__  the process

The exceptions of this package (`domain.StorageError`, `domain.Refused`) are the application's own: they never leave its
process, where every one of them becomes an HTTP status. They are therefore no part of the harness's error tree.
"""
