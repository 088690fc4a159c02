-- Events by kind, for 90 days.
--
-- An event is inserted as it was posted, into `record` alone; every other column is read from it here, so that a new
-- column is a line of this file and nothing else. `sequence` is the event's identity: ReplacingMergeTree keeps one row
-- of it, however often it was sent (`FINAL` where that must hold before parts were merged).
--
-- One partition a day, dropped whole once its last row is past its 90 days (`ttl_only_drop_parts`): the cheapest way to
-- forget, and the reason why what is gone is what is older than 90 days and one partition.

CREATE DATABASE IF NOT EXISTS community_platform;

-- What people do.
CREATE TABLE IF NOT EXISTS community_platform.user_events
(
    record String CODEC(ZSTD(1)),
    sequence String DEFAULT JSONExtractString(record, 'metadata', 'sequence'),
    timestamp DateTime64(6, 'UTC') DEFAULT parseDateTime64BestEffort(JSONExtractString(record, 'timestamp'), 6, 'UTC'),
    action LowCardinality(String) DEFAULT JSONExtractString(record, 'action'),
    environment LowCardinality(String) DEFAULT JSONExtractString(record, 'environment'),
    user_id String DEFAULT JSONExtractString(record, 'userId'),
    ip String DEFAULT JSONExtractString(record, 'ip'),
    method LowCardinality(String) DEFAULT JSONExtractString(record, 'method'),
    endpoint LowCardinality(String) DEFAULT JSONExtractString(record, 'endpoint'),
    ingested DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = ReplacingMergeTree
PARTITION BY toDate(timestamp)
ORDER BY (timestamp, sequence)
TTL toDateTime(timestamp) + INTERVAL 90 DAY DELETE
SETTINGS ttl_only_drop_parts = 1, non_replicated_deduplication_window = 1000;

-- What comes to be.
CREATE TABLE IF NOT EXISTS community_platform.business_events
(
    record String CODEC(ZSTD(1)),
    sequence String DEFAULT JSONExtractString(record, 'metadata', 'sequence'),
    timestamp DateTime64(6, 'UTC') DEFAULT parseDateTime64BestEffort(JSONExtractString(record, 'timestamp'), 6, 'UTC'),
    action LowCardinality(String) DEFAULT JSONExtractString(record, 'action'),
    environment LowCardinality(String) DEFAULT JSONExtractString(record, 'environment'),
    user_id String DEFAULT JSONExtractString(record, 'userId'),
    ip String DEFAULT JSONExtractString(record, 'ip'),
    method LowCardinality(String) DEFAULT JSONExtractString(record, 'method'),
    endpoint LowCardinality(String) DEFAULT JSONExtractString(record, 'endpoint'),
    object_type LowCardinality(String) DEFAULT JSONExtractString(record, 'object', 'type'),
    object_id Nullable(Int64) DEFAULT JSONExtract(record, 'object', 'id', 'Nullable(Int64)'),
    ingested DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = ReplacingMergeTree
PARTITION BY toDate(timestamp)
ORDER BY (timestamp, sequence)
TTL toDateTime(timestamp) + INTERVAL 90 DAY DELETE
SETTINGS ttl_only_drop_parts = 1, non_replicated_deduplication_window = 1000;

-- Who was turned away.
CREATE TABLE IF NOT EXISTS community_platform.security_events
(
    record String CODEC(ZSTD(1)),
    sequence String DEFAULT JSONExtractString(record, 'metadata', 'sequence'),
    timestamp DateTime64(6, 'UTC') DEFAULT parseDateTime64BestEffort(JSONExtractString(record, 'timestamp'), 6, 'UTC'),
    action LowCardinality(String) DEFAULT JSONExtractString(record, 'action'),
    environment LowCardinality(String) DEFAULT JSONExtractString(record, 'environment'),
    user_id String DEFAULT JSONExtractString(record, 'userId'),
    ip String DEFAULT JSONExtractString(record, 'ip'),
    method LowCardinality(String) DEFAULT JSONExtractString(record, 'method'),
    endpoint LowCardinality(String) DEFAULT JSONExtractString(record, 'endpoint'),
    status UInt16 DEFAULT toUInt16(JSONExtractUInt(record, 'status')),
    ingested DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = ReplacingMergeTree
PARTITION BY toDate(timestamp)
ORDER BY (timestamp, sequence)
TTL toDateTime(timestamp) + INTERVAL 90 DAY DELETE
SETTINGS ttl_only_drop_parts = 1, non_replicated_deduplication_window = 1000;

-- How long every request took.
CREATE TABLE IF NOT EXISTS community_platform.performance_events
(
    record String CODEC(ZSTD(1)),
    sequence String DEFAULT JSONExtractString(record, 'metadata', 'sequence'),
    timestamp DateTime64(6, 'UTC') DEFAULT parseDateTime64BestEffort(JSONExtractString(record, 'timestamp'), 6, 'UTC'),
    action LowCardinality(String) DEFAULT JSONExtractString(record, 'action'),
    environment LowCardinality(String) DEFAULT JSONExtractString(record, 'environment'),
    user_id String DEFAULT JSONExtractString(record, 'userId'),
    ip String DEFAULT JSONExtractString(record, 'ip'),
    method LowCardinality(String) DEFAULT JSONExtractString(record, 'method'),
    endpoint LowCardinality(String) DEFAULT JSONExtractString(record, 'endpoint'),
    status UInt16 DEFAULT toUInt16(JSONExtractUInt(record, 'status')),
    duration Float64 DEFAULT JSONExtractFloat(record, 'duration'),
    ingested DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = ReplacingMergeTree
PARTITION BY toDate(timestamp)
ORDER BY (timestamp, sequence)
TTL toDateTime(timestamp) + INTERVAL 90 DAY DELETE
SETTINGS ttl_only_drop_parts = 1, non_replicated_deduplication_window = 1000;
