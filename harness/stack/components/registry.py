"""Every kind of component that there is, as one explicit tuple."""

from __future__ import annotations

from harness.errors import StackError
from harness.stack.components import Component
from harness.stack.components.alertmanager import Alertmanager
from harness.stack.components.clickhouse import ClickHouse
from harness.stack.components.dead_mans_listener import DeadMansListener
from harness.stack.components.elasticsearch import Elasticsearch
from harness.stack.components.elasticsearch_exporter import ElasticsearchExporter
from harness.stack.components.emitter import SystemEmitter
from harness.stack.components.event_collector import EventCollector
from harness.stack.components.filebeat import Filebeat
from harness.stack.components.influxdb import InfluxDB
from harness.stack.components.mariadb import MariaDB
from harness.stack.components.mysqld_exporter import MysqldExporter
from harness.stack.components.nginx import Nginx
from harness.stack.components.node_exporter import NodeExporter
from harness.stack.components.prometheus import Prometheus
from harness.stack.components.redis import Redis
from harness.stack.components.redis_exporter import RedisExporter
from harness.stack.components.subject import Subject

COMPONENTS: tuple[Component, ...] = (
    Prometheus(),
    Alertmanager(),
    DeadMansListener(),
    NodeExporter(),
    Subject(),
    Nginx(),
    SystemEmitter(),
    MariaDB(),
    MysqldExporter(),
    Redis(),
    RedisExporter(),
    EventCollector(),
    ClickHouse(),
    InfluxDB(),
    Elasticsearch(),
    ElasticsearchExporter(),
    Filebeat(),
)


def component_of(kind: str) -> Component:
    """The component of a kind.

    Raises:
        StackError: there is none.
    """
    for component in COMPONENTS:
        if component.kind == kind:
            return component
    kinds = ", ".join(component.kind for component in COMPONENTS)
    raise StackError(f"No component is of kind {kind}", expected=f"one of {kinds}", seen=kind)
