-- The audit's own tables, in a database of its own that is dropped at its end.
--
-- On a cluster: replicate or distribute these by `cityHash64(identity)`; every join of the audit is by identity.
--
-- Parameters: database.

CREATE DATABASE {database:Identifier};

-- Manifests as they are, one line a row.
CREATE TABLE {database:Identifier}.announced
(
    identity String,
    at Decimal64(6),
    source LowCardinality(String),
    lane LowCardinality(String),
    level LowCardinality(String),
    digest String
)
ENGINE = MergeTree ORDER BY identity;

-- The fields over which the digest of a source goes.
CREATE TABLE {database:Identifier}.sources
(
    source LowCardinality(String),
    fields Array(String)
)
ENGINE = MergeTree ORDER BY source;

-- Faults while they were in place; `lane` is empty where one reached all of them.
CREATE TABLE {database:Identifier}.windows
(
    fault LowCardinality(String),
    lane LowCardinality(String),
    from_at Float64,
    until_at Float64
)
ENGINE = MergeTree ORDER BY fault;

-- Every copy that was found: since when a search could find it, which text it is, its own timestamp, its digest.
CREATE TABLE {database:Identifier}.found
(
    identity String,
    searchable_at Float64,
    row UInt64,
    stamped_at Nullable(Float64),
    digest String
)
ENGINE = MergeTree ORDER BY identity;

-- What was found of suspects when they were read: the digest of a copy, and whether its schema allows it.
CREATE TABLE {database:Identifier}.checked
(
    identity String,
    row UInt64,
    digest String,
    valid UInt8
)
ENGINE = MergeTree ORDER BY (identity, row);

-- Every announced record of the window with its one fate.
CREATE TABLE {database:Identifier}.fates
(
    identity String,
    at Float64,
    source LowCardinality(String),
    lane LowCardinality(String),
    level LowCardinality(String),
    digest String,
    fate LowCardinality(String),
    copies UInt64,
    delay Nullable(Float64),
    skew Nullable(Float64)
)
ENGINE = MergeTree ORDER BY identity;
