"""Every fault that there is; `tests/drive/test_faults.py` holds id, file, doc page and test cases together."""

from __future__ import annotations

from harness.drive.faults import Fault
from harness.drive.faults.alertmanager_crashed import AlertmanagerCrashed
from harness.drive.faults.alertmanager_down import AlertmanagerDown
from harness.drive.faults.cache_cold import CacheCold
from harness.drive.faults.cache_killed import CacheKilled
from harness.drive.faults.comments_unreadable import CommentsUnreadable
from harness.drive.faults.connections_exhausted import ConnectionsExhausted
from harness.drive.faults.database_half_open import DatabaseHalfOpen
from harness.drive.faults.database_killed import DatabaseKilled
from harness.drive.faults.database_refused import DatabaseRefused
from harness.drive.faults.database_reset import DatabaseReset
from harness.drive.faults.database_slow import DatabaseSlow
from harness.drive.faults.disk_filled import DiskFilled
from harness.drive.faults.exporter_crashed import ExporterCrashed
from harness.drive.faults.exporter_killed import ExporterKilled
from harness.drive.faults.heap_filled import HeapFilled
from harness.drive.faults.heartbeat_refused import HeartbeatRefused
from harness.drive.faults.host_cpu_busy import HostCpuBusy
from harness.drive.faults.host_memory_full import HostMemoryFull
from harness.drive.faults.host_memory_high import HostMemoryHigh
from harness.drive.faults.listener_crashed import ListenerCrashed
from harness.drive.faults.login_burst import LoginBurst
from harness.drive.faults.logs_not_shipped import LogsNotShipped
from harness.drive.faults.mail_hanging import MailHanging
from harness.drive.faults.mail_refusing_content import MailRefusingContent
from harness.drive.faults.mail_refusing_recipient import MailRefusingRecipient
from harness.drive.faults.network_flood import NetworkFlood
from harness.drive.faults.posts_index_missing import PostsIndexMissing
from harness.drive.faults.posts_locked import PostsLocked
from harness.drive.faults.posts_table_missing import PostsTableMissing
from harness.drive.faults.prometheus_crashed import PrometheusCrashed
from harness.drive.faults.prometheus_frozen import PrometheusFrozen
from harness.drive.faults.receiver_erroring import ReceiverErroring
from harness.drive.faults.receiver_hanging import ReceiverHanging
from harness.drive.faults.receiver_throttling import ReceiverThrottling
from harness.drive.faults.reload_broken import ReloadBroken
from harness.drive.faults.scrapes_lost import ScrapesLost
from harness.drive.faults.server_frozen import ServerFrozen
from harness.drive.faults.server_killed import ServerKilled
from harness.drive.faults.target_withdrawn import TargetWithdrawn

FAULTS: tuple[Fault, ...] = (
    ServerKilled(),
    DatabaseRefused(),
    PostsTableMissing(),
    TargetWithdrawn(),
    HostCpuBusy(),
    HostMemoryHigh(),
    HostMemoryFull(),
    NetworkFlood(),
    DiskFilled(),
    ReceiverErroring(),
    ReceiverThrottling(),
    ReceiverHanging(),
    MailRefusingRecipient(),
    MailRefusingContent(),
    MailHanging(),
    HeartbeatRefused(),
    AlertmanagerDown(),
    PrometheusFrozen(),
    ReloadBroken(),
    PrometheusCrashed(),
    AlertmanagerCrashed(),
    ListenerCrashed(),
    ServerFrozen(),
    DatabaseKilled(),
    DatabaseHalfOpen(),
    DatabaseReset(),
    DatabaseSlow(),
    CacheKilled(),
    ExporterKilled(),
    ExporterCrashed(),
    ScrapesLost(),
    ConnectionsExhausted(),
    PostsLocked(),
    PostsIndexMissing(),
    CommentsUnreadable(),
    CacheCold(),
    HeapFilled(),
    LoginBurst(),
    LogsNotShipped(),
)
