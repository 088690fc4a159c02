-- Delays by source in seconds: order statistics to the millisecond, rounded up (to the second from ten minutes on).
--
-- Parameters: database.

SELECT
    source,
    minIf(milliseconds, below >= ceil(0.5 * total)) / 1000,
    minIf(milliseconds, below >= ceil(0.99 * total)) / 1000,
    max(latest),
    min(earliest)
FROM
(
    SELECT
        source, milliseconds, latest, earliest,
        sum(records) OVER (PARTITION BY source ORDER BY milliseconds) AS below,
        sum(records) OVER (PARTITION BY source) AS total
    FROM
    (
        SELECT
            source,
            toInt64(if(delay < 600, ceil(delay * 1000), ceil(delay) * 1000)) AS milliseconds,
            count() AS records, max(delay) AS latest, min(delay) AS earliest
        FROM {database:Identifier}.fates
        WHERE delay IS NOT NULL
        GROUP BY source, milliseconds
    )
)
GROUP BY source;
