"""Real components come into the cache, without root, without a container engine, without touching the system.

Who only asks what is there calls `cache.cached`, which is synchronous, reaches no network and is light to import; who
wants it brought awaits `fetch.fetch`, or calls `fetch.bring` outside of an event loop.

One file a source kind (`apt`, `go`, `maven`, `pypi`), each behind `source.SourceKind`; `catalog` names what there is;
`cache` publishes and checks; `lock` lets one work at a time; `fetch` orders the work.
"""
