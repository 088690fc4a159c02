"""The copy that runs: production's files, pointed at the sandbox, with every difference listed. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from harness.model.findings import Finding
from harness.model.policy import Policies
from harness.model.stack import Difference, Sandbox
from harness.policy.parse.filebeat import KIND as SHIPPER
from harness.policy.parse.yaml import Node, Table, compose
from harness.policy.rewire import alertmanager, dead_man, filebeat, logstash, prometheus
from harness.policy.rewire.document import Edits, Value, dump, entries, values


@dataclass(frozen=True, slots=True)
class Rewiring:
    """The copy: text by path relative to the policies folder, and how it differs from what production runs.

    `findings` name what could not be taken along.
    """

    files: Mapping[str, str]
    differences: tuple[Difference, ...]
    findings: tuple[Finding, ...]


def rewire(policies: Policies, sandbox: Sandbox) -> Rewiring:
    """Makes the copy of the native files. Rule files and templates stay byte for byte what they were.

    In place of target files the copy has one for each job and lane (`target_file` in model/stack.py names it).
    """
    tree = _tree(policies, policies.prometheus_file)
    scraping = _document(tree)
    to_prometheus = Edits(policies.prometheus_file)
    found = {name: _groups(policies, name) for name in prometheus.target_files(tree, policies.documents)}
    targets = prometheus.rewire(scraping, to_prometheus, sandbox, found, policies.left_out)

    notifying = _document(_tree(policies, policies.alertmanager_file))
    to_alertmanager = Edits(policies.alertmanager_file)
    alertmanager.rewire(notifying, to_alertmanager, sandbox)

    files = {name: text for name, text in policies.documents.items() if name not in found}
    files |= {name: dump(groups) for name, groups in targets.files.items()}
    files[policies.prometheus_file] = dump(scraping)
    files[policies.alertmanager_file] = dump(notifying)
    listening = _dead_man(policies, files, sandbox)
    shipping, unshipped = _filebeat(policies, files, sandbox)
    piped = policies.logs.logstash if policies.logs is not None else None
    untaken: tuple[Difference, ...] = ()
    if piped is not None:
        files[piped.file], untaken = logstash.rewire(files[piped.file], piped.file)
    return Rewiring(
        files=MappingProxyType(files),
        differences=(
            *to_prometheus.differences,
            *targets.differences,
            *to_alertmanager.differences,
            *listening,
            *shipping,
            *untaken,
        ),
        findings=(*prometheus.undiscoverable(tree, policies.documents), *unshipped),
    )


def _dead_man(policies: Policies, files: dict[str, str], sandbox: Sandbox) -> tuple[Difference, ...]:
    """Puts what the dead man's listener reads into the copy, where the policies have it; how it differs."""
    if policies.dead_man_file is None:
        return ()
    speaking = _document(_tree(policies, policies.dead_man_file))
    edits = Edits(policies.dead_man_file)
    dead_man.rewire(speaking, edits, sandbox.bindings)
    files[policies.dead_man_file] = dump(speaking)
    return tuple(edits.differences)


def _filebeat(
    policies: Policies, files: dict[str, str], sandbox: Sandbox
) -> tuple[tuple[Difference, ...], tuple[Finding, ...]]:
    """Puts what Filebeat reads into the copy, where the policies have it; how it differs, and what is not in it."""
    shippers = [component for component in policies.components if component.kind == SHIPPER]
    if policies.logs is None or not shippers:
        return (), ()
    tree = _tree(policies, policies.logs.filebeat_file)
    shipping = _document(tree)
    edits = Edits(policies.logs.filebeat_file)
    listen = [sandbox.production.get(address, {}).get("") for one in shippers for address in one.addresses]
    filebeat.rewire(shipping, edits, sandbox, next(iter(listen), None))
    files[policies.logs.filebeat_file] = dump(shipping)
    return tuple(edits.differences), tuple(filebeat.left_out(tree, sandbox))


def _tree(policies: Policies, file: str) -> Node:
    """The file's tree with the path that its owner knows; it parsed when the policies were loaded."""
    return compose(policies.documents[file], str(policies.root / file)).documents[0]


def _groups(policies: Policies, file: str) -> list[Value]:
    """The target groups of a target file; a file of nothing but comments has none."""
    documents = compose(policies.documents[file], str(policies.root / file)).documents
    return entries(values(documents[0])) if documents else []


def _document(tree: Node) -> dict[str, Value]:
    assert isinstance(tree, Table)
    found = values(tree)
    assert isinstance(found, dict)
    return found
