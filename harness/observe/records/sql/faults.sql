-- What became of the records that were announced while a fault was in place in their lane.
--
-- Parameters: database.

SELECT record.source, during.fault, record.fate, count()
FROM {database:Identifier}.fates AS record
CROSS JOIN {database:Identifier}.windows AS during
WHERE record.fate != 'withdrawn' AND (during.lane = '' OR during.lane = record.lane)
    AND record.at >= during.from_at AND record.at <= during.until_at
GROUP BY record.source, during.fault, record.fate;
