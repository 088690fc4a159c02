-- The fate of every announced record, by the same rules as harness/observe/records/fates.py.
--
-- Parameters: database, since and until (which announcements), looked (up to when somebody looked), allowance (seconds).

INSERT INTO {database:Identifier}.fates
SELECT
    told.identity, told.at, told.source, told.lane, told.level, told.digest,
    multiIf(
        copies = 0 AND told.withdrawn, 'withdrawn',
        copies = 0, if({looked:Float64} - told.at >= {allowance:Float64}, 'lost', 'unverified'),
        whole = 0, 'corrupt',
        first - told.at > {allowance:Float64}, 'late',
        copies = 1, 'in_time',
        'duplicate') AS fate,
    copies,
    if(whole > 0, first - told.at, NULL),
    skew
FROM
(
    SELECT
        entry.identity AS identity,
        toFloat64(minIf(entry.at, entry.level != 'withdrawn')) AS at,
        argMinIf(entry.source, entry.at, entry.level != 'withdrawn') AS source,
        argMinIf(entry.lane, entry.at, entry.level != 'withdrawn') AS lane,
        argMinIf(entry.level, entry.at, entry.level != 'withdrawn') AS level,
        argMinIf(entry.digest, entry.at, entry.level != 'withdrawn') AS digest,
        countIf(entry.level = 'withdrawn') > 0 AS withdrawn
    FROM {database:Identifier}.announced AS entry
    GROUP BY entry.identity
    HAVING countIf(entry.level != 'withdrawn') > 0
) AS told
LEFT JOIN
(
    WITH if(book.digest = '-', check.valid = 1,
        if(check.digest != '', check.digest, copy.digest) = book.digest) AS is_whole
    SELECT
        copy.identity AS identity,
        count() AS copies,
        countIf(is_whole) AS whole,
        minIf(copy.searchable_at, is_whole) AS first,
        max(abs(copy.stamped_at - book.at)) AS skew
    FROM {database:Identifier}.found AS copy
    INNER JOIN
    (
        SELECT
            entry.identity AS identity,
            argMin(entry.digest, entry.at) AS digest,
            toFloat64(min(entry.at)) AS at
        FROM {database:Identifier}.announced AS entry
        WHERE entry.level != 'withdrawn'
        GROUP BY entry.identity
    ) AS book ON book.identity = copy.identity
    LEFT JOIN {database:Identifier}.checked AS check ON check.identity = copy.identity AND check.row = copy.row
    GROUP BY copy.identity
) AS seen ON seen.identity = told.identity
WHERE told.at >= {since:Float64} AND told.at < {until:Float64};
