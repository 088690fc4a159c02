-- Copies of announced writers that stand behind a later one of the same writer, and copies that nobody announced.
--
-- Parameters: database.

SELECT
    writer.source,
    countIf(number < before),
    countIf(book.identity = '')
FROM
(
    SELECT
        identity,
        substring(identity, 1, length(identity) - length(splitByChar('/', identity)[-1]) - 1) AS epoch,
        toUInt64OrZero(splitByChar('/', identity)[-1]) AS number,
        lagInFrame(number, 1, 0) OVER (
            PARTITION BY epoch ORDER BY searchable_at, number ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS before
    FROM {database:Identifier}.found
) AS copy
INNER JOIN
(
    SELECT DISTINCT
        substring(identity, 1, length(identity) - length(splitByChar('/', identity)[-1]) - 1) AS epoch, source
    FROM {database:Identifier}.announced
) AS writer ON writer.epoch = copy.epoch
LEFT JOIN (SELECT DISTINCT identity FROM {database:Identifier}.announced) AS book ON book.identity = copy.identity
GROUP BY writer.source;
