"""filebeat.yml, pointed at the sandbox: one Filebeat reads the logs of every lane and writes to the sandbox's store."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Final

from harness.model.findings import Finding, Severity, Subject
from harness.model.logs import LOG_ROOT, writer_of
from harness.model.stack import LANE_LABEL, SHARED, Address, Sandbox
from harness.policy.parse.dotted import find
from harness.policy.parse.filebeat import FILES, INPUTS, STORE, address_of
from harness.policy.parse.yaml import Items, Node, Scalar, Table
from harness.policy.rewire.document import NOTHING, Edits, Value, entries, settings, shown, text_of

_LANES = "each lane is an environment of its own, and so is what all lanes share"
_STORE = "the sandbox serves the store here, in plain HTTP on loopback"
_NOWHERE = "an address of no store in stack.yaml: it points nowhere, so that nothing leaves the machine"
_FOREIGN = "no component of the sandbox writes there, and no file of this machine is read"
_HERE = "data and logs stay in the sandbox"
_LEAVES = "nothing leaves the machine"
_KERNEL = "the filter of system calls that this Filebeat brings knows nothing of what its Go needs"

# How Filebeat speaks to its store. Source: its manual 7.12, "Configure the Elasticsearch output".
_CLIENT: Final = ("username", "password", "api_key", "protocol", "path", "proxy_url", "proxy_disable", "ssl", "headers")
_DROPPED: Final = (
    "filebeat.modules",
    "filebeat.config",
    "filebeat.autodiscover",
    "cloud",
    "monitoring",
    "xpack",
    "setup.kibana",
    "setup.dashboards",
    "instrumentation",
    "keystore",
    "path",
)


def rewire(document: dict[str, Value], edits: Edits, sandbox: Sandbox, listen: Address | None) -> None:
    """Points a filebeat.yml at the sandbox, in place; `listen` is where it tells of itself, where that is known."""
    for name in _DROPPED:
        _drop(document, edits, name, _HERE if name in {"path", "keystore"} else _LEAVES)
    found = _owner(document, INPUTS)
    if found is not None:
        owner, key = found
        owner[key] = [
            one for index, entry in enumerate(entries(owner[key])) for one in _multiplied(index, entry, edits, sandbox)
        ]
    _outputs(document, edits, sandbox)
    if listen is not None:
        _put(document, edits, "http.enabled", "true", "the sandbox asks it how it is")
        _put(document, edits, "http.host", listen.host, "loopback only")
        _put(document, edits, "http.port", str(listen.port), "a free port")
    _put(document, edits, "seccomp.enabled", "false", _KERNEL)


def left_out(tree: Node, sandbox: Sandbox) -> Iterator[Finding]:
    """What the copy cannot take along: paths of production that no component of the sandbox writes."""
    inputs = find(tree, INPUTS) if isinstance(tree, Table) else None
    for entry in inputs.items if isinstance(inputs, Items) else ():
        paths = entry.get("paths") if isinstance(entry, Table) else None
        for path in paths.items if isinstance(paths, Items) else ():
            if isinstance(path, Scalar) and writer_of(path.text) not in sandbox.logs:
                yield Finding(
                    "rewire/left-out",
                    Severity.WARNING,
                    path.span,
                    f"{path.text!r} is not in the copy: {_FOREIGN}",
                    fix=f"declare the component that writes below {LOG_ROOT}<its name>/ in stack.yaml",
                    subject=Subject("input", path.text),
                )


def _multiplied(index: int, entry: Value, edits: Edits, sandbox: Sandbox) -> Iterator[Value]:
    """An input once for each lane of the components whose logs it reads; paths of nobody are taken out."""
    at = f"{INPUTS}[{index}]"
    one = settings(entry)
    kind = text_of(one.get("type")) or "log"
    if kind not in FILES:
        edits.note(at, shown(entry), NOTHING, _FOREIGN)
        return
    by_lane: dict[str, list[tuple[str, str]]] = {}
    for path in map(text_of, entries(one.get("paths"))):
        writer = writer_of(path)
        folders = sandbox.logs.get(writer, {})
        if not folders:
            edits.note(f"{at}.paths", path, NOTHING, _FOREIGN)
        for lane, folder in folders.items():
            by_lane.setdefault(lane, []).append((path, folder + path.removeprefix(f"{LOG_ROOT}{writer}")))
    for lane, paths in by_lane.items():
        made = copy.deepcopy(one)
        made["paths"] = [ours for _, ours in paths]
        for theirs, ours in paths:
            edits.note(f"{at}.paths", theirs, ours, _LANES if lane else _HERE)
        _environment(made, at, edits, lane or SHARED)
        if "id" in made:
            edits.put(made, at, "id", f"{text_of(made['id'])}-{lane or SHARED}", _LANES)
        yield made


def _environment(made: dict[str, Value], at: str, edits: Edits, lane: str) -> None:
    if not isinstance(made.get("fields"), dict):
        made["fields"] = {}
    edits.put(settings(made["fields"]), f"{at}.fields", LANE_LABEL, lane, _LANES)


def _outputs(document: dict[str, Value], edits: Edits, sandbox: Sandbox) -> None:
    """Every output but the store's is taken out; the store's leads to the sandbox."""
    for name in _outputs_of(document):
        if name != STORE.removeprefix("output."):
            _drop(document, edits, f"output.{name}", _LEAVES)
    for name in _CLIENT:
        _drop(document, edits, f"{STORE}.{name}", _STORE)
    found = _owner(document, f"{STORE}.hosts")
    if found is None:
        return
    owner, key = found
    hosts = entries(owner[key]) or [owner[key]]
    ours: list[Value] = []
    for host in map(text_of, hosts):
        address = sandbox.production.get(address_of(host), {}).get("")
        after = f"http://{address or sandbox.nowhere}"
        edits.note(f"{STORE}.hosts", shown(host), after, _STORE if address else _NOWHERE)
        ours.append(after)
    owner[key] = ours


def _outputs_of(document: dict[str, Value]) -> Sequence[str]:
    names = [name.split(".")[1] for name in document if name.startswith("output.")]
    return list(dict.fromkeys([*names, *(name.partition(".")[0] for name in settings(document.get("output")))]))


def _owner(document: dict[str, Value], path: str) -> tuple[dict[str, Value], str] | None:
    """The mapping that holds a setting, and the setting's name there; None where there is none."""
    for name, value in document.items():
        if name == path:
            return document, name
        if path.startswith(name + ".") and isinstance(value, dict):
            inner = _owner(value, path.removeprefix(name + "."))
            if inner is not None:
                return inner
    return None


def _put(document: dict[str, Value], edits: Edits, path: str, text: str, why: str) -> None:
    """Writes a setting where it stands already, or at the top with its whole name."""
    found = _owner(document, path)
    value: Value = text == "true" if text in {"true", "false"} else text
    owner, key = found or (document, path)
    parent = path.removesuffix(key).rstrip(".")
    edits.put(owner, parent, key, value, why)


def _drop(document: dict[str, Value], edits: Edits, path: str, why: str) -> None:
    """Takes a setting away, and every one below it, however their names are split."""
    while (found := _owner(document, path)) is not None:
        owner, key = found
        edits.note(path, shown(owner.pop(key), path.rpartition(".")[2]), NOTHING, why)
    _drop_below(document, edits, path, path, why)


def _drop_below(owner: dict[str, Value], edits: Edits, whole: str, path: str, why: str) -> None:
    for name in list(owner):
        if name.startswith(path + "."):
            edits.note(f"{whole}.{name.removeprefix(path + '.')}", shown(owner.pop(name), name), NOTHING, why)
        elif path.startswith(name + ".") and isinstance(inner := owner[name], dict):
            _drop_below(inner, edits, whole, path.removeprefix(name + "."), why)
