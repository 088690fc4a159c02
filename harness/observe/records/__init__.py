"""The audit of records: manifests say what was written, a store or files what is found; every record gets one fate.

A record takes this way: `checks` reads a line, holds it against its schema and its digest; `partition` puts what is
left of it into one of many buckets on disk, by its identity; `joining` holds a bucket's announcements against what was
found of them (`fates` says what that makes of a record); `tally` adds the buckets up. Memory does not grow with the
number of records. `workers` does this in several processes, `store` reads a store in pages, `control` is the negative
control, `auditing` puts it all together.
"""
