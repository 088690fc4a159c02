-- Records for the negative control: found whole, once, some of each source, drawn by a seed.
--
-- Parameters: database, events, tables, prefix, seed, draw (how many of each source).

SELECT told.identity, told.at, told.source, told.level, told.digest, told.fate, kept.record, toString(kept.ingested, 'UTC')
FROM merge({events:String}, {tables:String}) AS kept
INNER JOIN
(
    SELECT identity, at, source, level, digest, fate
    FROM {database:Identifier}.fates
    WHERE copies = 1 AND fate IN ('in_time', 'late')
    ORDER BY cityHash64(identity, {seed:UInt64})
    LIMIT {draw:UInt32} BY source
) AS told ON told.identity = kept.sequence
WHERE startsWith(kept.sequence, {prefix:String})
LIMIT 1 BY told.identity;
