"""filebeat.yml: what is read, who a record is, and where it goes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from harness.model.findings import Finding, Severity, Subject
from harness.model.logs import LOG_ROOT, LogInput, writer_of
from harness.model.source import Span
from harness.policy.parse.dotted import below, find
from harness.policy.parse.reading import Parsed, Reading
from harness.policy.parse.suggest import closest, hint
from harness.policy.parse.yaml import Items, Node, Scalar, Table

KIND: Final = "filebeat"
"""What stack.yaml calls the component that reads this file."""

INPUTS: Final = "filebeat.inputs"
STORE: Final = "output.elasticsearch"

FILES: Final = ("log", "filestream")
"""Inputs that read files."""

IDENTITY: Final = "@metadata._id"
"""Where Filebeat takes the `_id` of a document from."""

_DEFAULT_INDEX = "filebeat-%{[agent.version]}-%{+yyyy.MM.dd}"
_DEFAULT_PORT = 9200
_ELSEWHERE = ("filebeat.modules", "filebeat.config.inputs", "filebeat.config.modules", "filebeat.autodiscover")

# Source: Filebeat's manual 7.12, "Log input", "filestream input", and what every input has.
_SETTINGS: Final = frozenset(
    {
        "backoff", "backoff_factor", "buffer_size", "clean_files", "clean_inactive", "clean_removed", "close",
        "close_eof", "close_inactive", "close_removed", "close_renamed", "close_timeout", "container",
        "enabled", "encoding", "exclude_files", "exclude_lines", "fields", "fields_under_root",
        "file_identity", "harvester_buffer_size", "harvester_limit", "id", "ignore_older", "include_lines",
        "index", "json", "keep_null", "line_terminator", "max_backoff", "max_bytes", "message_max_bytes",
        "multiline", "parsers", "paths", "pipeline", "processors", "prospector", "publisher_pipeline",
        "recursive_glob", "scan", "scan_frequency", "symlinks", "tags", "tail_files", "type",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Input:
    """An input with the places of its paths; `fields` are those that it adds to each record."""

    kind: str
    paths: tuple[Scalar, ...]
    fields: Mapping[str, str]
    span: Span


@dataclass(frozen=True, slots=True)
class FilebeatConfig:
    """What the rest of the house needs of filebeat.yml; `hosts` as written, `index` with its `%{…}`."""

    inputs: tuple[Input, ...]
    hosts: tuple[Scalar, ...]
    index: str
    index_at: Span

    @property
    def addresses(self) -> tuple[str, ...]:
        """The hosts as `host:port`."""
        return tuple(address_of(host.text) for host in self.hosts)

    def model(self) -> tuple[LogInput, ...]:
        """The inputs as the model has them."""
        return tuple(LogInput(one.kind, tuple(path.text for path in one.paths), one.span) for one in self.inputs)


def address_of(host: str) -> str:
    """`elasticsearch:9200` of a host as Filebeat writes it: with or without a scheme, a path, or a port."""
    parts = urlsplit(host if "://" in host else f"http://{host}")
    try:
        port = parts.port or _DEFAULT_PORT
    except ValueError:
        port = _DEFAULT_PORT
    return f"{parts.hostname or ''}:{port}"


def parse(text: str, file: str) -> Parsed[FilebeatConfig]:
    """Reads a filebeat.yml."""
    reading = Reading("filebeat", file)
    document = reading.document(text) or Table((), reading.start())
    inputs = tuple(_inputs(reading, document))
    if not inputs and not reading.findings:
        reading.error(
            "no-input",
            reading.start(),
            f"there is no `{INPUTS}` that reads a file: no record can ever arrive",
            fix=f"name the files under `{INPUTS}`",
        )
    _read_twice(reading, inputs)
    for elsewhere in _ELSEWHERE:
        if (other := find(document, elsewhere)) is not None:
            reading.warning(
                "elsewhere",
                other.span,
                f"what {elsewhere} brings is not in the copy that runs",
                details="inputs that Filebeat finds while it runs read files of this machine",
                fix=f"write these inputs under `{INPUTS}`",
            )
    hosts = _output(reading, document)
    if inputs and not _identified(document):
        reading.warning(
            "no-identity",
            reading.start(),
            f"no processor writes {IDENTITY}: what is sent twice is stored twice",
            details="Filebeat promises at-least-once: after a crash it sends again what it had not noted down",
            fix=f"add a `fingerprint` processor with `target_field: '{IDENTITY}'` over the field that names a record",
        )
    index = reading.scalar(find(document, f"{STORE}.index"), "index")
    return Parsed(
        FilebeatConfig(
            inputs, hosts, index.text if index else _DEFAULT_INDEX, index.span if index else reading.start()
        ),
        tuple(reading.findings),
    )


def unknown_writers(config: FilebeatConfig, components: Collection[str]) -> Iterator[Finding]:
    """Paths of production that are of no component in stack.yaml: nothing of the sandbox can stand for them."""
    for one in config.inputs:
        for path in one.paths:
            writer = writer_of(path.text)
            if writer in components:
                continue
            named = f"below {LOG_ROOT}{writer}, and no component is called {writer!r}"
            yield Finding(
                "filebeat/unknown-writer",
                Severity.WARNING,
                path.span,
                f"{path.text!r} is {named if writer else f'not below {LOG_ROOT}'}: it is not in the copy that runs",
                details=f"{LOG_ROOT}<name>/ holds the logs of the component of that name in stack.yaml",
                fix=hint(writer, components),
                subject=Subject("input", path.text),
            )


def unknown_hosts(config: FilebeatConfig, addresses: Mapping[str, str]) -> Iterator[Finding]:
    """Hosts of the output that are of no store in stack.yaml; `addresses` has the kind of component by address."""
    for host, address in zip(config.hosts, config.addresses, strict=True):
        if addresses.get(address) != "elasticsearch":
            yield Finding(
                "filebeat/unknown-host",
                Severity.WARNING,
                host.span,
                f"{address} is an address of no store in stack.yaml: the copy that runs sends nothing there",
                fix=hint(address, [known for known, kind in addresses.items() if kind == "elasticsearch"]),
                subject=Subject("output", address),
            )


def _inputs(reading: Reading, document: Table) -> Iterator[Input]:
    for entry in reading.tables(find(document, INPUTS), INPUTS):
        kind = reading.scalar(entry.get("type"), "type")
        enabled = reading.scalar(entry.get("enabled"), "enabled")
        if enabled is not None and enabled.text.lower() in {"false", "no", "off"}:
            continue
        name = kind.text if kind else "log"  # Filebeat's own default
        if name not in FILES:
            reading.warning(
                "unknown-input",
                kind.span if kind else entry.span,
                f"inputs of type {name!r} are not in the copy that runs",
                details=f"files are read: {' and '.join(FILES)}",
                fix=hint(name, FILES),
                about=Subject("input", name),
            )
            continue
        _unknown_settings(reading, entry)
        paths = tuple(reading.scalars(entry.get("paths"), "paths"))
        if not paths:
            reading.error(
                "no-path",
                entry.span,
                f"an input of type {name} names no path: Filebeat does not start",
                fix="add `paths`",
            )
            continue
        yield Input(name, paths, reading.strings(entry.get("fields"), "fields"), entry.span)


def _unknown_settings(reading: Reading, entry: Table) -> None:
    """A setting that is nearly one that there is: Filebeat says nothing of it."""
    for setting in entry.entries:
        name = setting.key.text.partition(".")[0]
        near = None if name in _SETTINGS else closest(name, _SETTINGS)
        if near is not None:
            reading.warning(
                "unknown-setting",
                setting.key.span,
                f"an input has no setting {name!r}, and Filebeat says nothing of it",
                fix=f"did you mean {near!r}?",
            )


def _read_twice(reading: Reading, inputs: Iterable[Input]) -> None:
    seen: dict[str, Scalar] = {}
    for path in (path for one in inputs for path in one.paths):
        if path.text in seen:
            reading.error(
                "read-twice",
                path.span,
                f"{path.text!r} is read by two inputs: each of its records is sent twice, or by either",
                details=f"the first stands at {seen[path.text].span}",
                about=Subject("input", path.text),
            )
        seen.setdefault(path.text, path)


def _output(reading: Reading, document: Table) -> tuple[Scalar, ...]:
    """The hosts of the store; what else is said of the output is told."""
    outputs = dict(below(document, "output"))
    if "elasticsearch" not in outputs:
        for name, key in outputs.items():
            reading.warning(
                "output",
                key.span,
                f"records go to {name}, which does not run here",
                details="the copy that runs has no output of this kind, so that nothing is judged of logs",
                fix=f"write to the store itself: `{STORE}`",
                about=Subject("output", name),
            )
        if not outputs:
            reading.error(
                "no-output",
                reading.start(),
                "there is no output: Filebeat does not start",
                fix=f"add `{STORE}` with its `hosts`",
            )
        return ()
    hosts = find(document, f"{STORE}.hosts")
    found = (hosts,) if isinstance(hosts, Scalar) else tuple(reading.scalars(hosts, "hosts"))
    if not found:
        reading.error("no-host", outputs["elasticsearch"].span, f"{STORE} names no hosts", fix="add `hosts`")
    return found


def _identified(document: Table) -> bool:
    """Whether a processor, of all records or of an input's, writes the `_id`."""
    return any(scalar.text == IDENTITY for scalar in _scalars(document)) or any(
        key.text in {"document_id", "id_field"} for key in _keys(document)
    )


def _scalars(node: Node) -> Iterator[Scalar]:
    if isinstance(node, Scalar):
        yield node
    elif isinstance(node, Items):
        for item in node.items:
            yield from _scalars(item)
    else:
        for entry in node.entries:
            yield from _scalars(entry.value)


def _keys(node: Node) -> Iterator[Scalar]:
    if isinstance(node, Items):
        for item in node.items:
            yield from _keys(item)
    elif isinstance(node, Table):
        for entry in node.entries:
            yield entry.key
            yield from _keys(entry.value)
