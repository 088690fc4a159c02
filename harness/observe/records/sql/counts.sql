-- How many records of each source, lane and level had which fate, and how many copies of them were found.
--
-- Parameters: database.

SELECT source, fate, lane, level, count(), sum(copies), sum(greatest(copies, 1) - 1),
    countIf(digest = '-' AND copies > 0)
FROM {database:Identifier}.fates
GROUP BY source, fate, lane, level;
