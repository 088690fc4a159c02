-- How many announcements were made again, by source.
--
-- Parameters: database.

SELECT source, count() - uniqExact(identity)
FROM {database:Identifier}.announced
WHERE level != 'withdrawn'
GROUP BY source;
