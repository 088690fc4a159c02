-- The reports, each `SELECT * FROM community_platform.<report>`.

-- Daily active users.
CREATE OR REPLACE VIEW community_platform.daily_active_users AS
SELECT day, environment, uniqExactMerge(users) AS active_users
FROM community_platform.daily_users
GROUP BY day, environment
ORDER BY day, environment;

-- Posts and comments per hour.
CREATE OR REPLACE VIEW community_platform.posts_and_comments_per_hour AS
SELECT
    hour,
    environment,
    uniqExactMergeIf(created, object_type = 'post') AS posts,
    uniqExactMergeIf(created, object_type = 'comment') AS comments
FROM community_platform.hourly_creations
GROUP BY hour, environment
HAVING posts > 0 OR comments > 0
ORDER BY hour, environment;

-- Error ratio by endpoint.
CREATE OR REPLACE VIEW community_platform.error_ratio_by_endpoint AS
SELECT
    day,
    environment,
    method,
    endpoint,
    uniqExactMerge(requests) AS request_count,
    uniqExactMerge(errors) AS error_count,
    error_count / request_count AS error_ratio
FROM community_platform.daily_requests
GROUP BY day, environment, method, endpoint
ORDER BY day, environment, method, endpoint;

-- Failed log-ins by address.
CREATE OR REPLACE VIEW community_platform.failed_logins_by_address AS
SELECT day, environment, ip, uniqExactMerge(failed) AS failed_logins
FROM community_platform.daily_failed_logins
GROUP BY day, environment, ip
HAVING failed_logins > 0
ORDER BY day, environment, ip;

-- p50, p95 and p99 by endpoint, exact. From the rows themselves: no state of a quantile can tell that a row came twice.
CREATE OR REPLACE VIEW community_platform.latency_by_endpoint AS
SELECT
    toDate(timestamp) AS day,
    environment,
    method,
    endpoint,
    count() AS requests,
    quantileExact(0.5)(duration) AS p50,
    quantileExact(0.95)(duration) AS p95,
    quantileExact(0.99)(duration) AS p99
FROM community_platform.performance_events FINAL
GROUP BY day, environment, method, endpoint
ORDER BY day, environment, method, endpoint;
