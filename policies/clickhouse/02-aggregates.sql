-- What the reports are read from, kept up to date by every insert.
--
-- Every state counts identities, never rows: an event that is sent twice changes nothing here either. A day more than
-- the events themselves: their last partition is as old as that.

-- Who was there, by day.
CREATE MATERIALIZED VIEW IF NOT EXISTS community_platform.daily_users
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(day)
ORDER BY (day, environment)
TTL day + INTERVAL 91 DAY DELETE
AS SELECT
    toDate(timestamp) AS day,
    environment,
    uniqExactStateIf(user_id, user_id != '') AS users
FROM community_platform.user_events
GROUP BY day, environment;

-- What came to be, by hour.
CREATE MATERIALIZED VIEW IF NOT EXISTS community_platform.hourly_creations
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(hour)
ORDER BY (hour, environment, object_type)
TTL hour + INTERVAL 91 DAY DELETE
AS SELECT
    toStartOfHour(toDateTime(timestamp, 'UTC')) AS hour,
    environment,
    object_type,
    uniqExactState(sequence) AS created
FROM community_platform.business_events
GROUP BY hour, environment, object_type;

-- Requests and errors (500 and above) of every endpoint, by day.
CREATE MATERIALIZED VIEW IF NOT EXISTS community_platform.daily_requests
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(day)
ORDER BY (day, environment, method, endpoint)
TTL day + INTERVAL 91 DAY DELETE
AS SELECT
    toDate(timestamp) AS day,
    environment,
    method,
    endpoint,
    uniqExactState(sequence) AS requests,
    uniqExactStateIf(sequence, status >= 500) AS errors
FROM community_platform.performance_events
GROUP BY day, environment, method, endpoint;

-- Failed log-ins from every address, by day.
CREATE MATERIALIZED VIEW IF NOT EXISTS community_platform.daily_failed_logins
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(day)
ORDER BY (day, environment, ip)
TTL day + INTERVAL 91 DAY DELETE
AS SELECT
    toDate(timestamp) AS day,
    environment,
    ip,
    uniqExactStateIf(sequence, action = 'login_failed') AS failed
FROM community_platform.security_events
GROUP BY day, environment, ip;
