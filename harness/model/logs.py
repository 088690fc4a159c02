"""What a team ships and keeps of its logs: inputs of the shipper, where they go, how long the store keeps them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Final

from harness.model.logstash import LogstashPolicy
from harness.model.searching import SavedQuery
from harness.model.source import Span

LOG_ROOT: Final = "/var/log/"
"""Where production writes logs: the folder below it is called as the component that writes them."""

RUN_MARK: Final = "tocsin_run"
"""The key in a mapping's `_meta` that says which run made an index."""

_DATE_PARTS: Final = {"yyyy": r"(?P<year>\d{4})", "MM": r"(?P<month>\d{2})", "dd": r"(?P<day>\d{2})"}


def writer_of(path: str) -> str:
    """The component whose log a path is: `nginx` of `/var/log/nginx/access.log`; "" for any other path."""
    folder, slash, _ = path.removeprefix(LOG_ROOT).partition("/")
    return folder if path.startswith(LOG_ROOT) and slash else ""


@dataclass(frozen=True, slots=True)
class LogInput:
    """An input of filebeat.yml: `kind` is its `type` (`log`), `paths` the globs of production that it reads."""

    kind: str
    paths: tuple[str, ...]
    span: Span

    @property
    def writers(self) -> tuple[str, ...]:
        """The components whose logs it reads, each once; "" for a path below no component's folder."""
        return tuple(dict.fromkeys(writer_of(path) for path in self.paths))


@dataclass(frozen=True, slots=True)
class Retention:
    """retention.json: how long daily indices are kept.

    Args:
        pattern: the indices that it speaks of (`community-platform-*`); what stands for `*` is the day.
        date_format: how the day is written there (`yyyy.MM.dd`).
        keep_days: every record is kept for so many days at least.
        span: where it stands.
    """

    pattern: str
    date_format: str
    keep_days: int
    span: Span

    def day_of(self, index: str) -> date | None:
        """The day whose records an index holds; None where its name is not one of the pattern's."""
        dated = re.escape(self.date_format)
        for letters, group in _DATE_PARTS.items():
            dated = dated.replace(letters, group, 1)
        head, _, tail = self.pattern.partition("*")
        found = re.fullmatch(re.escape(head) + dated + re.escape(tail), index)
        if found is None:
            return None
        try:
            return date(int(found["year"]), int(found["month"]), int(found["day"]))
        except ValueError:
            return None

    def index_of(self, day: date) -> str:
        """The index that holds the records of a day."""
        dated = self.date_format
        for letters, text in (("yyyy", f"{day.year:04}"), ("MM", f"{day.month:02}"), ("dd", f"{day.day:02}")):
            dated = dated.replace(letters, text, 1)
        return self.pattern.replace("*", dated, 1)

    def is_over(self, index: str, now: datetime) -> bool:
        """Whether every record that an index can hold is older than `keep_days`, at `now` (aware)."""
        day = self.day_of(index)
        if day is None:
            return False
        end = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
        return end + timedelta(days=self.keep_days) <= now


@dataclass(frozen=True, slots=True)
class Snapshots:
    """snapshot.json: the `repository` that snapshots go to, and the `indices` (patterns) that they hold."""

    repository: str
    indices: tuple[str, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class SearchPolicy:
    """What the store is told before the first record comes: the folder `elasticsearch/` of the policies.

    Args:
        folder: that folder, relative to the policies folder.
        template_file: the index template, relative to the policies folder.
        pipeline_file: the ingest pipeline, likewise; None where there is none.
        name: what the template is called: its pattern without `-*`.
        pattern: the indices that the template is for.
        pipeline: what the pipeline is called: the template's `index.default_pipeline`; "" where it has none.
        refresh: after how long, at most, a record that was taken in is found by a search.
        retention: how long indices are kept, where the folder says it.
        snapshots: where they are archived, where the folder says it.
        fields: what the template maps, with dots between, each with its type.
        queries: the operator's saved queries.
    """

    folder: str
    template_file: str
    pipeline_file: str | None
    name: str
    pattern: str
    pipeline: str
    refresh: timedelta
    retention: Retention | None
    snapshots: Snapshots | None
    fields: Mapping[str, str] = field(default_factory=dict)
    queries: tuple[SavedQuery, ...] = ()


@dataclass(frozen=True, slots=True)
class LogPolicy:
    """How logs get from their files into the store.

    Args:
        filebeat_file: relative to the policies folder.
        inputs: what is read.
        hosts: the addresses (`host:port`) of the stores that it writes to, as production knows them.
        index: the index that it writes to, as the file has it (`community-platform-%{+yyyy.MM.dd}`).
        search: what the store is told; None where the folder does not say it.
        fields: the fields that every input adds, by its position, e.g. `environment`.
        logstash: what logstash.conf does on the way, None where the folder has none.
    """

    filebeat_file: str
    inputs: tuple[LogInput, ...]
    hosts: tuple[str, ...]
    index: str
    search: SearchPolicy | None
    fields: tuple[Mapping[str, str], ...] = ()
    logstash: LogstashPolicy | None = None
