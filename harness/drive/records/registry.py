"""Every fault of the records' way that there is; each has a page of its own in docs/record-faults."""

from __future__ import annotations

from harness.drive.records import RecordFault
from harness.drive.records.clickhouse_down import ClickhouseDown
from harness.drive.records.clock_stepped import ClockStepped
from harness.drive.records.collector_killed import CollectorKilled
from harness.drive.records.half_line import HalfLine
from harness.drive.records.influxdb_down import InfluxdbDown
from harness.drive.records.log_copy_truncated import LogCopyTruncated
from harness.drive.records.log_rotated import LogRotated
from harness.drive.records.log_rotated_while_shipper_down import LogRotatedWhileShipperDown
from harness.drive.records.log_truncated import LogTruncated
from harness.drive.records.long_line import LongLine
from harness.drive.records.not_utf_8 import NotUtf8
from harness.drive.records.shipper_frozen import ShipperFrozen
from harness.drive.records.shipper_killed import ShipperKilled
from harness.drive.records.stack_trace import StackTrace
from harness.drive.records.store_disk_full import StoreDiskFull
from harness.drive.records.store_down import StoreDown
from harness.drive.records.store_hanging import StoreHanging
from harness.drive.records.store_refusing_documents import StoreRefusingDocuments
from harness.drive.records.store_refusing_requests import StoreRefusingRequests
from harness.drive.records.storm import Storm

RECORD_FAULTS: tuple[RecordFault, ...] = (
    StoreDown(),
    StoreHanging(),
    StoreRefusingRequests(),
    StoreRefusingDocuments(),
    StoreDiskFull(),
    ShipperKilled(),
    ShipperFrozen(),
    LogRotated(),
    LogRotatedWhileShipperDown(),
    LogCopyTruncated(),
    LogTruncated(),
    HalfLine(),
    NotUtf8(),
    LongLine(),
    StackTrace(),
    ClockStepped(),
    Storm(),
    ClickhouseDown(),
    CollectorKilled(),
    InfluxdbDown(),
)
