"""Every kind of store that can be kept, as one explicit tuple."""

from __future__ import annotations

from harness.drive.keeping import Keeper
from harness.drive.keeping.clickhouse import ClickHouseKeeper
from harness.drive.keeping.influxdb import InfluxKeeper
from harness.drive.keeping.mariadb import MariaKeeper
from harness.drive.keeping.opensearch import OpenSearchKeeper
from harness.drive.keeping.prometheus import PrometheusKeeper

KEEPERS: tuple[Keeper, ...] = (
    PrometheusKeeper(),
    InfluxKeeper(),
    MariaKeeper(),
    ClickHouseKeeper(),
    OpenSearchKeeper(),
)
