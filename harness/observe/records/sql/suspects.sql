-- Copies whose digest ClickHouse could not confirm, and those of which nobody announced one: to be read and checked.
--
-- Parameters: database, events, tables, prefix, opened.

SELECT kept.record, kept.sequence, cityHash64(kept.record)
FROM merge({events:String}, {tables:String}) AS kept
WHERE startsWith(kept.sequence, {prefix:String}) AND kept.ingested <= {opened:DateTime64(3, 'UTC')}
    AND (kept.sequence, cityHash64(kept.record)) IN
    (
        SELECT copy.identity, copy.row
        FROM {database:Identifier}.found AS copy
        INNER JOIN {database:Identifier}.announced AS told ON told.identity = copy.identity
        WHERE told.level != 'withdrawn' AND copy.digest != told.digest
    )
LIMIT 1 BY kept.sequence, cityHash64(kept.record);
