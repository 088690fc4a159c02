-- Some identities of each bad fate, the largest distance of a record's own timestamp from its announcement.
--
-- Parameters: database.

SELECT source, fate, groupArraySorted(5)(identity), max(skew)
FROM {database:Identifier}.fates
GROUP BY source, fate;
