-- What was found: every row of ours with its digest, computed here as its writer has computed it.
--
-- A digest is BLAKE2b (RFC 7693, eight bytes) of the declared fields of a record, in JSON with sorted keys. ClickHouse
-- has no BLAKE2b of its own: `arrayFold` goes over the blocks of the text and over the twelve rounds of a block. The text
-- is made canonical two levels deep, which is what records are; where ClickHouse writes a value in another way than the
-- writer (an escaped control character), the digest differs and the row is a suspect: those few are read and held
-- against schema and digest as ever (`suspects.sql`). A digest that is equal needs no further look.
--
-- Parameters: database (the audit's own), events and tables (where records are kept), prefix (`run/` or nothing), opened
-- (up to when rows are read), seen (that instant in Unix seconds), refresh (seconds after `ingested`).

INSERT INTO {database:Identifier}.found
SELECT
    identity,
    least(toFloat64(intDiv(milliseconds, 1000)) + (milliseconds % 1000) / 1000. + {refresh:Float64}, {seen:Float64}),
    row,
    stamped,
    if(empty(text), '', lower(hex(reinterpretAsFixedString(arrayFold((h, b) -> arrayMap(m -> arrayMap(o -> [bitXor(h[1], bitXor(o.1, o.9)), bitXor(h[2], bitXor(o.2, o.10)), bitXor(h[3], bitXor(o.3, o.11)), bitXor(h[4], bitXor(o.4, o.12)), bitXor(h[5], bitXor(o.5, o.13)), bitXor(h[6], bitXor(o.6, o.14)), bitXor(h[7], bitXor(o.7, o.15)), bitXor(h[8], bitXor(o.8, o.16))],
[arrayFold((v, ix) -> arrayMap(u ->
tuple(
u.1 + u.6 + m[ix[9]] + bitRotateRight(bitXor(u.6, u.11 + bitRotateRight(bitXor(u.16, u.1 + u.6 + m[ix[9]]), 32)), 24) + m[ix[10]],
u.2 + u.7 + m[ix[11]] + bitRotateRight(bitXor(u.7, u.12 + bitRotateRight(bitXor(u.13, u.2 + u.7 + m[ix[11]]), 32)), 24) + m[ix[12]],
u.3 + u.8 + m[ix[13]] + bitRotateRight(bitXor(u.8, u.9 + bitRotateRight(bitXor(u.14, u.3 + u.8 + m[ix[13]]), 32)), 24) + m[ix[14]],
u.4 + u.5 + m[ix[15]] + bitRotateRight(bitXor(u.5, u.10 + bitRotateRight(bitXor(u.15, u.4 + u.5 + m[ix[15]]), 32)), 24) + m[ix[16]],
bitRotateRight(bitXor(bitRotateRight(bitXor(u.5, u.10 + bitRotateRight(bitXor(u.15, u.4 + u.5 + m[ix[15]]), 32)), 24), u.10 + bitRotateRight(bitXor(u.15, u.4 + u.5 + m[ix[15]]), 32) + bitRotateRight(bitXor(bitRotateRight(bitXor(u.15, u.4 + u.5 + m[ix[15]]), 32), u.4 + u.5 + m[ix[15]] + bitRotateRight(bitXor(u.5, u.10 + bitRotateRight(bitXor(u.15, u.4 + u.5 + m[ix[15]]), 32)), 24) + m[ix[16]]), 16)), 63),
bitRotateRight(bitXor(bitRotateRight(bitXor(u.6, u.11 + bitRotateRight(bitXor(u.16, u.1 + u.6 + m[ix[9]]), 32)), 24), u.11 + bitRotateRight(bitXor(u.16, u.1 + u.6 + m[ix[9]]), 32) + bitRotateRight(bitXor(bitRotateRight(bitXor(u.16, u.1 + u.6 + m[ix[9]]), 32), u.1 + u.6 + m[ix[9]] + bitRotateRight(bitXor(u.6, u.11 + bitRotateRight(bitXor(u.16, u.1 + u.6 + m[ix[9]]), 32)), 24) + m[ix[10]]), 16)), 63),
bitRotateRight(bitXor(bitRotateRight(bitXor(u.7, u.12 + bitRotateRight(bitXor(u.13, u.2 + u.7 + m[ix[11]]), 32)), 24), u.12 + bitRotateRight(bitXor(u.13, u.2 + u.7 + m[ix[11]]), 32) + bitRotateRight(bitXor(bitRotateRight(bitXor(u.13, u.2 + u.7 + m[ix[11]]), 32), u.2 + u.7 + m[ix[11]] + bitRotateRight(bitXor(u.7, u.12 + bitRotateRight(bitXor(u.13, u.2 + u.7 + m[ix[11]]), 32)), 24) + m[ix[12]]), 16)), 63),
bitRotateRight(bitXor(bitRotateRight(bitXor(u.8, u.9 + bitRotateRight(bitXor(u.14, u.3 + u.8 + m[ix[13]]), 32)), 24), u.9 + bitRotateRight(bitXor(u.14, u.3 + u.8 + m[ix[13]]), 32) + bitRotateRight(bitXor(bitRotateRight(bitXor(u.14, u.3 + u.8 + m[ix[13]]), 32), u.3 + u.8 + m[ix[13]] + bitRotateRight(bitXor(u.8, u.9 + bitRotateRight(bitXor(u.14, u.3 + u.8 + m[ix[13]]), 32)), 24) + m[ix[14]]), 16)), 63),
u.9 + bitRotateRight(bitXor(u.14, u.3 + u.8 + m[ix[13]]), 32) + bitRotateRight(bitXor(bitRotateRight(bitXor(u.14, u.3 + u.8 + m[ix[13]]), 32), u.3 + u.8 + m[ix[13]] + bitRotateRight(bitXor(u.8, u.9 + bitRotateRight(bitXor(u.14, u.3 + u.8 + m[ix[13]]), 32)), 24) + m[ix[14]]), 16),
u.10 + bitRotateRight(bitXor(u.15, u.4 + u.5 + m[ix[15]]), 32) + bitRotateRight(bitXor(bitRotateRight(bitXor(u.15, u.4 + u.5 + m[ix[15]]), 32), u.4 + u.5 + m[ix[15]] + bitRotateRight(bitXor(u.5, u.10 + bitRotateRight(bitXor(u.15, u.4 + u.5 + m[ix[15]]), 32)), 24) + m[ix[16]]), 16),
u.11 + bitRotateRight(bitXor(u.16, u.1 + u.6 + m[ix[9]]), 32) + bitRotateRight(bitXor(bitRotateRight(bitXor(u.16, u.1 + u.6 + m[ix[9]]), 32), u.1 + u.6 + m[ix[9]] + bitRotateRight(bitXor(u.6, u.11 + bitRotateRight(bitXor(u.16, u.1 + u.6 + m[ix[9]]), 32)), 24) + m[ix[10]]), 16),
u.12 + bitRotateRight(bitXor(u.13, u.2 + u.7 + m[ix[11]]), 32) + bitRotateRight(bitXor(bitRotateRight(bitXor(u.13, u.2 + u.7 + m[ix[11]]), 32), u.2 + u.7 + m[ix[11]] + bitRotateRight(bitXor(u.7, u.12 + bitRotateRight(bitXor(u.13, u.2 + u.7 + m[ix[11]]), 32)), 24) + m[ix[12]]), 16),
bitRotateRight(bitXor(bitRotateRight(bitXor(u.13, u.2 + u.7 + m[ix[11]]), 32), u.2 + u.7 + m[ix[11]] + bitRotateRight(bitXor(u.7, u.12 + bitRotateRight(bitXor(u.13, u.2 + u.7 + m[ix[11]]), 32)), 24) + m[ix[12]]), 16),
bitRotateRight(bitXor(bitRotateRight(bitXor(u.14, u.3 + u.8 + m[ix[13]]), 32), u.3 + u.8 + m[ix[13]] + bitRotateRight(bitXor(u.8, u.9 + bitRotateRight(bitXor(u.14, u.3 + u.8 + m[ix[13]]), 32)), 24) + m[ix[14]]), 16),
bitRotateRight(bitXor(bitRotateRight(bitXor(u.15, u.4 + u.5 + m[ix[15]]), 32), u.4 + u.5 + m[ix[15]] + bitRotateRight(bitXor(u.5, u.10 + bitRotateRight(bitXor(u.15, u.4 + u.5 + m[ix[15]]), 32)), 24) + m[ix[16]]), 16),
bitRotateRight(bitXor(bitRotateRight(bitXor(u.16, u.1 + u.6 + m[ix[9]]), 32), u.1 + u.6 + m[ix[9]] + bitRotateRight(bitXor(u.6, u.11 + bitRotateRight(bitXor(u.16, u.1 + u.6 + m[ix[9]]), 32)), 24) + m[ix[10]]), 16)
),
[tuple(
v.1 + v.5 + m[ix[1]] + bitRotateRight(bitXor(v.5, v.9 + bitRotateRight(bitXor(v.13, v.1 + v.5 + m[ix[1]]), 32)), 24) + m[ix[2]],
v.2 + v.6 + m[ix[3]] + bitRotateRight(bitXor(v.6, v.10 + bitRotateRight(bitXor(v.14, v.2 + v.6 + m[ix[3]]), 32)), 24) + m[ix[4]],
v.3 + v.7 + m[ix[5]] + bitRotateRight(bitXor(v.7, v.11 + bitRotateRight(bitXor(v.15, v.3 + v.7 + m[ix[5]]), 32)), 24) + m[ix[6]],
v.4 + v.8 + m[ix[7]] + bitRotateRight(bitXor(v.8, v.12 + bitRotateRight(bitXor(v.16, v.4 + v.8 + m[ix[7]]), 32)), 24) + m[ix[8]],
bitRotateRight(bitXor(bitRotateRight(bitXor(v.5, v.9 + bitRotateRight(bitXor(v.13, v.1 + v.5 + m[ix[1]]), 32)), 24), v.9 + bitRotateRight(bitXor(v.13, v.1 + v.5 + m[ix[1]]), 32) + bitRotateRight(bitXor(bitRotateRight(bitXor(v.13, v.1 + v.5 + m[ix[1]]), 32), v.1 + v.5 + m[ix[1]] + bitRotateRight(bitXor(v.5, v.9 + bitRotateRight(bitXor(v.13, v.1 + v.5 + m[ix[1]]), 32)), 24) + m[ix[2]]), 16)), 63),
bitRotateRight(bitXor(bitRotateRight(bitXor(v.6, v.10 + bitRotateRight(bitXor(v.14, v.2 + v.6 + m[ix[3]]), 32)), 24), v.10 + bitRotateRight(bitXor(v.14, v.2 + v.6 + m[ix[3]]), 32) + bitRotateRight(bitXor(bitRotateRight(bitXor(v.14, v.2 + v.6 + m[ix[3]]), 32), v.2 + v.6 + m[ix[3]] + bitRotateRight(bitXor(v.6, v.10 + bitRotateRight(bitXor(v.14, v.2 + v.6 + m[ix[3]]), 32)), 24) + m[ix[4]]), 16)), 63),
bitRotateRight(bitXor(bitRotateRight(bitXor(v.7, v.11 + bitRotateRight(bitXor(v.15, v.3 + v.7 + m[ix[5]]), 32)), 24), v.11 + bitRotateRight(bitXor(v.15, v.3 + v.7 + m[ix[5]]), 32) + bitRotateRight(bitXor(bitRotateRight(bitXor(v.15, v.3 + v.7 + m[ix[5]]), 32), v.3 + v.7 + m[ix[5]] + bitRotateRight(bitXor(v.7, v.11 + bitRotateRight(bitXor(v.15, v.3 + v.7 + m[ix[5]]), 32)), 24) + m[ix[6]]), 16)), 63),
bitRotateRight(bitXor(bitRotateRight(bitXor(v.8, v.12 + bitRotateRight(bitXor(v.16, v.4 + v.8 + m[ix[7]]), 32)), 24), v.12 + bitRotateRight(bitXor(v.16, v.4 + v.8 + m[ix[7]]), 32) + bitRotateRight(bitXor(bitRotateRight(bitXor(v.16, v.4 + v.8 + m[ix[7]]), 32), v.4 + v.8 + m[ix[7]] + bitRotateRight(bitXor(v.8, v.12 + bitRotateRight(bitXor(v.16, v.4 + v.8 + m[ix[7]]), 32)), 24) + m[ix[8]]), 16)), 63),
v.9 + bitRotateRight(bitXor(v.13, v.1 + v.5 + m[ix[1]]), 32) + bitRotateRight(bitXor(bitRotateRight(bitXor(v.13, v.1 + v.5 + m[ix[1]]), 32), v.1 + v.5 + m[ix[1]] + bitRotateRight(bitXor(v.5, v.9 + bitRotateRight(bitXor(v.13, v.1 + v.5 + m[ix[1]]), 32)), 24) + m[ix[2]]), 16),
v.10 + bitRotateRight(bitXor(v.14, v.2 + v.6 + m[ix[3]]), 32) + bitRotateRight(bitXor(bitRotateRight(bitXor(v.14, v.2 + v.6 + m[ix[3]]), 32), v.2 + v.6 + m[ix[3]] + bitRotateRight(bitXor(v.6, v.10 + bitRotateRight(bitXor(v.14, v.2 + v.6 + m[ix[3]]), 32)), 24) + m[ix[4]]), 16),
v.11 + bitRotateRight(bitXor(v.15, v.3 + v.7 + m[ix[5]]), 32) + bitRotateRight(bitXor(bitRotateRight(bitXor(v.15, v.3 + v.7 + m[ix[5]]), 32), v.3 + v.7 + m[ix[5]] + bitRotateRight(bitXor(v.7, v.11 + bitRotateRight(bitXor(v.15, v.3 + v.7 + m[ix[5]]), 32)), 24) + m[ix[6]]), 16),
v.12 + bitRotateRight(bitXor(v.16, v.4 + v.8 + m[ix[7]]), 32) + bitRotateRight(bitXor(bitRotateRight(bitXor(v.16, v.4 + v.8 + m[ix[7]]), 32), v.4 + v.8 + m[ix[7]] + bitRotateRight(bitXor(v.8, v.12 + bitRotateRight(bitXor(v.16, v.4 + v.8 + m[ix[7]]), 32)), 24) + m[ix[8]]), 16),
bitRotateRight(bitXor(bitRotateRight(bitXor(v.13, v.1 + v.5 + m[ix[1]]), 32), v.1 + v.5 + m[ix[1]] + bitRotateRight(bitXor(v.5, v.9 + bitRotateRight(bitXor(v.13, v.1 + v.5 + m[ix[1]]), 32)), 24) + m[ix[2]]), 16),
bitRotateRight(bitXor(bitRotateRight(bitXor(v.14, v.2 + v.6 + m[ix[3]]), 32), v.2 + v.6 + m[ix[3]] + bitRotateRight(bitXor(v.6, v.10 + bitRotateRight(bitXor(v.14, v.2 + v.6 + m[ix[3]]), 32)), 24) + m[ix[4]]), 16),
bitRotateRight(bitXor(bitRotateRight(bitXor(v.15, v.3 + v.7 + m[ix[5]]), 32), v.3 + v.7 + m[ix[5]] + bitRotateRight(bitXor(v.7, v.11 + bitRotateRight(bitXor(v.15, v.3 + v.7 + m[ix[5]]), 32)), 24) + m[ix[6]]), 16),
bitRotateRight(bitXor(bitRotateRight(bitXor(v.16, v.4 + v.8 + m[ix[7]]), 32), v.4 + v.8 + m[ix[7]] + bitRotateRight(bitXor(v.8, v.12 + bitRotateRight(bitXor(v.16, v.4 + v.8 + m[ix[7]]), 32)), 24) + m[ix[8]]), 16)
)])[1],
[
[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
[15, 11, 5, 9, 10, 16, 14, 7, 2, 13, 1, 3, 12, 8, 6, 4],
[12, 9, 13, 1, 6, 3, 16, 14, 11, 15, 4, 7, 8, 2, 10, 5],
[8, 10, 4, 2, 14, 13, 12, 15, 3, 7, 6, 11, 5, 1, 16, 9],
[10, 1, 6, 8, 3, 5, 11, 16, 15, 2, 12, 13, 7, 9, 4, 14],
[3, 13, 7, 11, 1, 12, 9, 4, 5, 14, 8, 6, 16, 15, 2, 10],
[13, 6, 2, 16, 15, 14, 5, 11, 1, 8, 7, 4, 10, 3, 9, 12],
[14, 12, 8, 15, 13, 2, 4, 10, 6, 1, 16, 5, 9, 7, 3, 11],
[7, 16, 15, 10, 12, 4, 1, 9, 13, 3, 14, 8, 2, 5, 11, 6],
[11, 3, 9, 5, 8, 7, 2, 6, 16, 12, 10, 15, 4, 13, 14, 1],
[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
[15, 11, 5, 9, 10, 16, 14, 7, 2, 13, 1, 3, 12, 8, 6, 4]
],
tuple(h[1], h[2], h[3], h[4], h[5], h[6], h[7], h[8],
toUInt64(7640891576956012808), toUInt64(13503953896175478587), toUInt64(4354685564936845355), toUInt64(11912009170470909681),
bitXor(toUInt64(5840696475078001361), least((b + 1) * 128, length(text))), toUInt64(11170449401992604703),
bitXor(toUInt64(2270897969802886507), if((b + 1) * 128 >= length(text), toUInt64(18446744073709551615), toUInt64(0))), toUInt64(6620516959819538809)))])[1],
[arrayMap(at -> reinterpretAsUInt64(substring(padded, at * 8 + 1, 8)), range(b * 16, b * 16 + 16))])[1],
range(toUInt64(intDiv(length(padded), 128))),
[toUInt64(7640891576939301120), toUInt64(13503953896175478587), toUInt64(4354685564936845355), toUInt64(11912009170470909681), toUInt64(5840696475078001361), toUInt64(11170449401992604703), toUInt64(2270897969802886507), toUInt64(6620516959819538809)])[1]))))
FROM
(
    SELECT
        *,
        concat(text, repeat('\0', greatest(1, intDiv(length(text) + 127, 128)) * 128 - length(text))) AS padded
    FROM
    (
        SELECT
            kept.sequence AS identity,
            toUnixTimestamp64Milli(toDateTime64(kept.ingested, 3)) AS milliseconds,
            cityHash64(kept.record) AS row,
            toFloat64(toDecimal64OrNull(toString(toUnixTimestamp64Micro(parseDateTime64BestEffortOrNull(
                JSONExtractString(kept.record, 'timestamp'), 6, 'UTC'))), 0)) / 1000000 AS stamped,
            if(empty(ours.fields), '', concat('{', arrayStringConcat(arrayMap(
                field -> concat('"', field.1, '":', if(startsWith(field.2, '{'),
                    concat('{', arrayStringConcat(arrayMap(
                        inner -> concat('"', inner.1, '":', inner.2),
                        arraySort(inner -> inner.1, JSONExtractKeysAndValuesRaw(field.2))), ','), '}'),
                    field.2)),
                arraySort(field -> field.1, arrayFilter(
                    field -> has(ours.fields, field.1), JSONExtractKeysAndValuesRaw(kept.record)))), ','), '}')) AS text
        FROM merge({events:String}, {tables:String}) AS kept
        LEFT JOIN
        (
            SELECT identity, any(fields) AS fields
            FROM {database:Identifier}.announced
            INNER JOIN {database:Identifier}.sources USING source
            WHERE digest != '-'
            GROUP BY identity
        ) AS ours ON ours.identity = kept.sequence
        WHERE startsWith(kept.sequence, {prefix:String}) AND kept.sequence != ''
            AND kept.ingested <= {opened:DateTime64(3, 'UTC')}
    )
);
