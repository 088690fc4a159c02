"""logstash.conf between filebeat.yml and the store: where it listens, where it writes, and whether these agree."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from harness.model.findings import Finding, Severity, Subject
from harness.model.logs import LogPolicy
from harness.model.logstash import LogstashPolicy
from harness.model.source import Span
from harness.policy.parse import logstash
from harness.policy.parse.dotted import below, find
from harness.policy.parse.filebeat import address_of
from harness.policy.parse.files import Folder
from harness.policy.parse.logstash_nodes import Listed, Pipeline, Plugin, Word
from harness.policy.parse.reading import Parsed, Reading
from harness.policy.parse.yaml import Items, Scalar, Table, compose
from harness.policy.translate.pipeline import translate

FILE: Final = "logstash.conf"

SCHEMAS: Final = "logs/*.schema.json"
"""The records that go through it."""

_DEFAULT_PORT = 5044
_CHANGING: Final = ("add_field", "tags", "type", "codec")
"""Settings of an input that change the records that it takes."""


@dataclass(frozen=True, slots=True)
class Ways:
    """Where records come in and where they go, each with its place."""

    ports: tuple[tuple[int, Span], ...]
    hosts: tuple[Word, ...]
    indices: tuple[Word, ...]


def load(folder: Folder, shipped: LogPolicy, found: list[Finding]) -> LogstashPolicy | None:
    """Reads and translates logstash.conf; None where the folder has none, which is no mistake.

    It is held together with how logs are `shipped`. The schemas of logs were read before. `found` takes what is wrong.
    """
    text = folder.read(FILE) if (folder.root / FILE).exists() else None
    if text is None:
        return None
    parsed = logstash.parse(text, folder.shown(FILE))
    found.extend(parsed.findings)
    if parsed.value is None:
        return None
    made = translate(parsed.value, folder.shown(FILE))
    found.extend(made.findings)
    ways = read(parsed.value, folder.shown(FILE))
    found.extend(ways.findings)
    beats = folder.texts[shipped.filebeat_file], folder.shown(shipped.filebeat_file)
    found.extend(together(ways.value, shipped, *beats))
    return LogstashPolicy(
        FILE,
        tuple(port for port, _ in ways.value.ports),
        tuple(dict.fromkeys(address_of(host.text) for host in ways.value.hosts)),
        tuple(dict.fromkeys(index.text for index in ways.value.indices)),
        made.value.processors,
        tuple(name for name in folder.matching(SCHEMAS, FILE) or () if name in folder.texts),
    )


def read(pipeline: Pipeline, file: str) -> Parsed[Ways]:
    """Reads the inputs and outputs of a pipeline."""
    reading = Reading(logstash.AREA, file)
    ports = tuple(found for plugin in pipeline.plugins("input") if (found := _input(reading, plugin)) is not None)
    hosts: list[Word] = []
    indices: list[Word] = []
    for plugin in pipeline.plugins("output"):
        name = plugin.name.text
        if name != "elasticsearch":
            what = f"records go to the output `{name}` too, which does not run here"
            reading.warning("output", plugin.name.span, what, about=Subject("output", name))
            continue
        hosts += _words(plugin, "hosts")
        indices += _words(plugin, "index")
        if plugin.get("document_id") is None:
            reading.warning(
                "no-identity",
                plugin.name.span,
                "the output names no `document_id`: what is sent twice is stored twice",
                details="Logstash and Filebeat promise at-least-once: after a crash they send again",
                fix='add `document_id => "%{[@metadata][_id]}"` where Filebeat writes @metadata._id',
            )
    if not hosts and not indices and not reading.findings:
        what = "there is no output `elasticsearch`: no record is ever found"
        reading.error("no-output", reading.start(), what, fix="add `output { elasticsearch { } }`")
    return Parsed(Ways(ports, tuple(hosts), tuple(indices)), tuple(reading.findings))


def _input(reading: Reading, plugin: Plugin) -> tuple[int, Span] | None:
    name = plugin.name.text
    if name != "beats":
        what = f"the input `{name}` is fed by nobody here: records come from Filebeat"
        reading.warning("input", plugin.name.span, what, about=Subject("input", name))
        return None
    for attribute in plugin.attributes:
        if attribute.name.text in _CHANGING and _text(attribute.value) != "plain":
            reading.error(
                "untranslated",
                attribute.name.span,
                f"`{attribute.name.text}` of an input cannot be translated here",
                details="a store's pipeline sees a record only when its filters begin",
                fix="do it in a filter, e.g. `mutate { add_tag => [...] }`",
                about=Subject("input", name),
            )
    words = _words(plugin, "port")
    if not words:
        return _DEFAULT_PORT, plugin.name.span
    if not re.fullmatch(r"[0-9]{1,5}", words[0].text) or not 0 < int(words[0].text) < 65536:
        reading.error("port", words[0].span, f"{words[0].text!r} is no port", fix="write a whole number, e.g. 5044")
        return None
    return int(words[0].text), words[0].span


def together(ways: Ways, shipped: LogPolicy, text: str, file: str) -> Iterator[Finding]:
    """How filebeat.yml (its `text`) and a logstash.conf disagree."""
    documents = compose(text, file).documents
    if not documents or not isinstance(documents[0], Table):
        return
    document = documents[0]
    outputs = dict(below(document, "output"))
    to = find(document, "output.logstash.hosts")
    ports = {port for port, _ in ways.ports}
    for host in to.items if isinstance(to, Items) else (to,):
        if isinstance(host, Scalar) and ports and _port_of(host.text) not in ports:
            yield Finding(
                "logstash/port",
                Severity.ERROR,
                host.span,
                f"Filebeat sends to port {_port_of(host.text)}, and Logstash listens at {', '.join(map(str, ports))}",
                details=f"it listens at {ways.ports[0][1]}",
                subject=Subject("output", host.text),
            )
    if "elasticsearch" not in outputs:
        yield from _uncovered(ways, shipped)
        return
    for index in ways.indices:
        if _same(index.text) != _same(shipped.index):
            what = f"Logstash writes to {index.text!r}, and Filebeat, past it, to {shipped.index!r}"
            yield Finding("logstash/index", Severity.WARNING, index.span, what, subject=Subject("index", index.text))
    for store in ways.hosts:
        if address_of(store.text) not in shipped.hosts:
            what = f"Logstash writes to {address_of(store.text)}, and Filebeat, past it, to {', '.join(shipped.hosts)}"
            yield Finding("logstash/host", Severity.WARNING, store.span, what, subject=Subject("output", store.text))


def _uncovered(ways: Ways, shipped: LogPolicy) -> Iterator[Finding]:
    """Indices that the team's template is not for."""
    if shipped.search is None:
        return
    head = shipped.search.pattern.partition("*")[0]
    for index in ways.indices:
        if not index.text.startswith(head):
            what = f"the index template is for {shipped.search.pattern}, and Logstash writes to {index.text!r}"
            yield Finding("logstash/index", Severity.WARNING, index.span, what, subject=Subject("index", index.text))


def _same(index: str) -> str:
    """An index as both write it: the year is `YYYY` to Logstash, `yyyy` to Filebeat."""
    return re.sub(r"%\{\{?\+?([^}]*)\}\}?", lambda found: f"%{{+{found[1].replace('Y', 'y')}}}", index)


def _port_of(host: str) -> int:
    found = re.search(r":([0-9]{1,5})$", host)
    return int(found[1]) if found else _DEFAULT_PORT


def _words(plugin: Plugin, name: str) -> list[Word]:
    value = plugin.get(name)
    items = value.items if isinstance(value, Listed) else (value,)
    return [item for item in items if isinstance(item, Word)]


def _text(value: object) -> str:
    return value.text if isinstance(value, Word) else value.name.text if isinstance(value, Plugin) else ""
