"""How logs are shipped and kept: filebeat.yml and the folder `elasticsearch/`, read and held together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final, TypeVar

from harness.model.findings import Finding, Severity, Subject
from harness.model.logs import LogPolicy, Retention, SearchPolicy
from harness.model.policy import ComponentPolicy
from harness.model.searching import SavedQuery
from harness.model.source import Span
from harness.policy.parse import elasticsearch, filebeat, logstash_way, queries
from harness.policy.parse.elasticsearch import FOLDER, ILM, ISM, PIPELINE, RETENTION, SNAPSHOT, TEMPLATE
from harness.policy.parse.files import Folder
from harness.policy.parse.reading import Parsed, Reading

FILEBEAT: Final = ("filebeat.yml", "filebeat.yaml")

T = TypeVar("T")


def load(folder: Folder, components: Sequence[ComponentPolicy], found: list[Finding]) -> LogPolicy | None:
    """Reads how logs are shipped and kept; None where the folder has no filebeat.yml, which is no mistake.

    What the file names is held against stack.yaml's `components` where one of these reads it. `found` takes what is
    wrong.
    """
    _queries_kept(folder, components, found)
    name = next((name for name in FILEBEAT if (folder.root / name).exists()), None)
    if any(component.kind == filebeat.KIND for component in components):
        name = name or folder.first(FILEBEAT)  # a shipper that runs has something to read: here no file is a finding
    text = folder.read(name) if name else None
    if name is None or text is None:
        return None
    parsed = filebeat.parse(text, folder.shown(name))
    found.extend(parsed.findings)
    config = parsed.value
    if any(component.kind == filebeat.KIND for component in components):
        kinds = {address: component.kind for component in components for address in component.addresses}
        found.extend(filebeat.unknown_writers(config, [component.name for component in components]))
        found.extend(filebeat.unknown_hosts(config, kinds))
    shipped = LogPolicy(
        filebeat_file=name,
        inputs=config.model(),
        hosts=config.addresses,
        index=config.index,
        search=_search(folder, config, found) if config.hosts else None,
        fields=tuple(one.fields for one in config.inputs),
    )
    return replace(shipped, logstash=logstash_way.load(folder, shipped, found))


def native(logs: LogPolicy | None) -> tuple[str, ...]:
    """The native files that the copy is made from."""
    if logs is None:
        return ()
    search, piped = logs.search, logs.logstash
    return (
        logs.filebeat_file,
        *((piped.file, *piped.schemas) if piped else ()),
        *((search.template_file,) if search else ()),
        *((search.pipeline_file,) if search and search.pipeline_file else ()),
    )


def _search(folder: Folder, config: filebeat.FilebeatConfig, found: list[Finding]) -> SearchPolicy | None:
    """What the store is told; None where the folder does not say it."""
    template = _read(folder, TEMPLATE, elasticsearch.template, found)
    if template is None:
        if not (folder.root / FOLDER / TEMPLATE).exists():
            found.append(_absent(folder, TEMPLATE, "nothing is judged of logs: the store would guess what a record is"))
        return None
    reading = Reading("elasticsearch", config.index_at.file)
    elasticsearch.covers(template, config.index, config.index_at, reading)
    found.extend(reading.findings)
    ready = _read(folder, PIPELINE, elasticsearch.pipeline, found)
    if template.pipeline and not (folder.root / FOLDER / PIPELINE).exists():
        what = f"the template names the pipeline {template.pipeline!r}: the store takes in nothing without it"
        found.append(_absent(folder, PIPELINE, what, Severity.ERROR))
    kept = _read(folder, RETENTION, elasticsearch.retention, found)
    snapshots = _read(folder, SNAPSHOT, elasticsearch.snapshot, found)
    if kept is not None:
        if kept.pattern != template.pattern:
            found.append(_other_pattern(kept, template))
        for name in (ILM, ISM):
            _lifecycle(folder, name, kept, found)
    told = elasticsearch.policy(
        template, pipeline_file=f"{FOLDER}/{PIPELINE}" if ready else None, kept=kept, snapshots=snapshots
    )
    path = f"{FOLDER}/{TEMPLATE}"
    fields = queries.fields_of(folder.texts[path], path)
    return replace(told, fields=fields, queries=_queries(folder, fields, found))


def _queries_kept(folder: Folder, components: Sequence[ComponentPolicy], found: list[Finding]) -> None:
    """A store of logs without a saved query is a finding, at the store: nobody would ask whether its logs are found."""
    store = next((one for one in components if one.kind == elasticsearch.KIND), None)
    if store is None or folder.matching(queries.PATTERN, "stack.yaml"):
        return
    found.append(
        Finding(
            "query/none",
            Severity.WARNING,
            store.span,
            f"{store.name} keeps logs, and {folder.shown(queries.FOLDER)} holds no search of an operator",
            details=f"at least one file {queries.PATTERN} is expected: without one no search is tried in a run",
            fix='save what your operators ask: {"source": {"query": ..., "sort": [{"@timestamp": "desc"}]}}',
            subject=Subject("component", store.name),
        )
    )


def _queries(folder: Folder, fields: Mapping[str, str], found: list[Finding]) -> tuple[SavedQuery, ...]:
    """The operator's queries, none where the folder keeps none."""
    read = []
    for name in folder.matching(queries.PATTERN, "stack.yaml") or ():
        text = folder.read(name)
        if text is not None:
            parsed = queries.parse(text, folder.shown(name), name, fields)
            found.extend(parsed.findings)
            read.append(parsed.value)
    return tuple(one for one in read if one is not None)


def _read(folder: Folder, name: str, parse: Callable[[str, str], Parsed[T]], found: list[Finding]) -> T | None:
    """One of the folder's files, where it is there."""
    path = f"{FOLDER}/{name}"
    text = folder.read(path) if (folder.root / path).exists() else None
    if text is None:
        return None
    parsed = parse(text, folder.shown(path))
    found.extend(parsed.findings)
    return parsed.value


def _lifecycle(folder: Folder, name: str, kept: Retention, found: list[Finding]) -> None:
    _read(folder, name, lambda text, file: elasticsearch.lifecycle(text, file, kept), found)


def _other_pattern(kept: Retention, template: elasticsearch.Template) -> Finding:
    return Finding(
        "retention/pattern",
        Severity.ERROR,
        kept.span,
        f"{kept.pattern} is aged out, and the index template is for {template.pattern}",
        fix=f"write {template.pattern!r}",
        subject=Subject("index", kept.pattern),
    )


def _absent(folder: Folder, name: str, what: str, severity: Severity = Severity.WARNING) -> Finding:
    path = f"{FOLDER}/{name}"
    at = Span(folder.shown(path), 1, 1, 1, 1)
    return Finding("file/missing", severity, at, f"there is no {path}", details=what, subject=Subject("file", path))
