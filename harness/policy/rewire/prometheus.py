"""prometheus.yml, pointed at the sandbox: targets by lane, Alertmanager, and nothing that leaves the machine."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from harness.model.findings import Finding, Severity, Subject
from harness.model.stack import LANE_LABEL, Address, Sandbox
from harness.policy.parse.yaml import Items, Node, Scalar, Table
from harness.policy.rewire.document import NOTHING, Edits, Value, entries, settings, shown, text_of

_LANES = "each lane is an environment of its own"
_SANDBOX = "the sandbox serves it here"
_NOWHERE = "an address of no component in stack.yaml: it points nowhere, so that nothing leaves the machine"
_PLAIN = "the sandbox serves plain HTTP on loopback"

# How Prometheus speaks to whom it scrapes, alerts or writes to. Source: its manual, "Configuration".
_CLIENT: Final = (
    "scheme",
    "basic_auth",
    "authorization",
    "oauth2",
    "bearer_token",
    "bearer_token_file",
    "sigv4",
    "azuread",
    "google_iam",
    "tls_config",
    "proxy_url",
    "no_proxy",
    "proxy_from_environment",
    "proxy_connect_header",
    "http_headers",
    "headers",
)
_URL = re.compile(r"(https?://)([^/?#]+)(.*)", re.DOTALL)
_STATIC = "static_configs"
_DISCOVERY = re.compile(r"\w+_sd_configs")


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a target went: `lane` is None where all lanes share it."""

    target: str
    lane: str | None


def rewire(document: dict[str, Value], edits: Edits, sandbox: Sandbox) -> None:
    """Points a prometheus.yml at the sandbox, in place."""
    world = settings(document.get("global"))
    edits.drop(world, "global", ("query_log_file", "scrape_failure_log_file"), "logs stay in the sandbox")
    edits.drop(document, "", ("scrape_config_files",), "jobs that another file brings are not in the copy")
    edits.drop(document, "", ("tracing",), "nothing leaves the machine")
    for kind in ("remote_write", "remote_read"):
        for index, entry in enumerate(entries(document.get(kind))):
            path = f"{kind}[{index}]"
            remote = settings(entry)
            edits.drop(remote, path, _CLIENT, "nothing leaves the machine")
            edits.put(remote, path, "url", f"http://{sandbox.nowhere}/", "nothing leaves the machine")
    for index, entry in enumerate(entries(document.get("scrape_configs"))):
        _job(settings(entry), f"scrape_configs[{index}]", edits, sandbox)
    alerting = settings(document.get("alerting"))
    for index, entry in enumerate(entries(alerting.get("alertmanagers"))):
        _alertmanager(settings(entry), f"alerting.alertmanagers[{index}]", edits, sandbox)


def undiscoverable(tree: Node) -> Iterator[Finding]:
    """What a copy cannot take along: targets that are found at run time, and jobs that other files bring."""
    if not isinstance(tree, Table):
        return
    files = tree.key("scrape_config_files")
    if files is not None:
        yield _left_out(files, "the jobs of scrape_config_files are not in the copy", Subject("file", files.text))
    jobs = tree.get("scrape_configs")
    for job in jobs.items if isinstance(jobs, Items) else ():
        if not isinstance(job, Table):
            continue
        name = job.get("job_name")
        called = name.text if isinstance(name, Scalar) else "?"
        for entry in job.entries:
            if _discovers(entry.key.text):
                summary = f"the targets that {entry.key.text} finds for job {called!r} are not in the copy"
                yield _left_out(entry.key, summary, Subject("job", called))


def _left_out(at: Scalar, summary: str, subject: Subject) -> Finding:
    return Finding(
        "rewire/left-out",
        Severity.WARNING,
        at.span,
        summary,
        fix="name the targets under static_configs where their alerts are to be drilled",
        subject=subject,
    )


def _discovers(key: str) -> bool:
    return _DISCOVERY.fullmatch(key) is not None


def _job(job: dict[str, Value], path: str, edits: Edits, sandbox: Sandbox) -> None:
    edits.drop(job, path, _CLIENT, _PLAIN)
    edits.drop(job, path, [key for key in job if _discovers(key)], "targets found at run time are not in the sandbox")
    rewritten: list[Value] = []
    laned = False
    for index, entry in enumerate(entries(job.get(_STATIC))):
        for static in _static(settings(entry), f"{path}.{_STATIC}[{index}]", edits, sandbox):
            rewritten.append(static.config)
            laned = laned or static.lane is not None
    if _STATIC in job:
        job[_STATIC] = rewritten
    _relabelling(job, path, edits, sandbox, laned=laned)


@dataclass(frozen=True, slots=True)
class _Static:
    """One static configuration of the copy."""

    config: dict[str, Value]
    lane: str | None


def _static(static: dict[str, Value], path: str, edits: Edits, sandbox: Sandbox) -> Iterator[_Static]:
    """One static configuration becomes one for what lanes share and one for each lane."""
    labels = settings(static.get("labels"))
    by_lane: dict[str | None, list[Value]] = {}
    for index, target in enumerate(entries(static.get("targets"))):
        address = text_of(target)
        places = _places(address, sandbox)
        for place in places:
            by_lane.setdefault(place.lane, []).append(place.target)
        known = _netloc(address) in sandbox.production
        after = ", ".join(p.target if p.lane is None else f"{p.target} ({p.lane})" for p in places)
        edits.note(f"{path}.targets[{index}]", shown(address), after, _SANDBOX if known else _NOWHERE)
    if not by_lane:
        yield _Static(static, None)
    lanes = [lane for lane in by_lane if lane is not None]
    if lanes:
        before = shown(labels[LANE_LABEL]) if LANE_LABEL in labels else NOTHING
        edits.note(f"{path}.labels.{LANE_LABEL}", before, ", ".join(lanes), _LANES)
    for lane, targets in by_lane.items():
        config: dict[str, Value] = {**static, "targets": targets}
        if lane is not None:
            config["labels"] = {**labels, LANE_LABEL: lane}
        yield _Static(config, lane)


def _places(target: str, sandbox: Sandbox) -> tuple[_Place, ...]:
    """Where the sandbox serves a target, which is an address or (for a prober) a URL."""
    by_lane = sandbox.production.get(_netloc(target), {})
    if not by_lane:
        return (_Place(_replaced(target, sandbox.nowhere), None),)
    return tuple(_Place(_replaced(target, address), lane or None) for lane, address in by_lane.items())


def _netloc(target: str) -> str:
    url = _URL.fullmatch(target)
    return url.group(2) if url else target


def _replaced(target: str, address: Address) -> str:
    url = _URL.fullmatch(target)
    return f"http://{address}{url.group(3)}" if url else str(address)


def _relabelling(job: dict[str, Value], path: str, edits: Edits, sandbox: Sandbox, *, laned: bool) -> None:
    """Relabelling may name an address (a prober's) or the environment outright; both are the sandbox's to say."""
    rules = entries(job.get("relabel_configs"))
    kept: list[Value] = []
    for index, entry in enumerate(rules):
        rule, at = settings(entry), f"{path}.relabel_configs[{index}]"
        replacement, label = text_of(rule.get("replacement")), text_of(rule.get("target_label"))
        literal = bool(replacement) and "$" not in replacement and text_of(rule.get("action")) in {"", "replace"}
        if literal and label == LANE_LABEL and laned:
            edits.note(at, shown(entry), NOTHING, _LANES)
            continue
        if literal and label == "__address__":
            address = _shared(replacement, sandbox.production)
            why = _SANDBOX if address else _NOWHERE
            edits.put(rule, at, "replacement", str(address or sandbox.nowhere), why)
        elif literal and label == "__scheme__":
            edits.put(rule, at, "replacement", "http", _PLAIN)
        kept.append(entry)
    if len(kept) != len(rules):
        job["relabel_configs"] = kept


def _alertmanager(entry: dict[str, Value], path: str, edits: Edits, sandbox: Sandbox) -> None:
    edits.drop(entry, path, _CLIENT, _PLAIN)
    edits.drop(
        entry, path, [key for key in entry if _discovers(key)], "addresses found at run time are not in the sandbox"
    )
    for index, static in enumerate(entries(entry.get(_STATIC))):
        targets = entries(settings(static).get("targets"))
        for number, target in enumerate(targets):
            address = _shared(text_of(target), sandbox.production)
            targets[number] = str(address or sandbox.nowhere)
            edits.note(
                f"{path}.{_STATIC}[{index}].targets[{number}]",
                shown(target),
                str(address or sandbox.nowhere),
                _SANDBOX if address else _NOWHERE,
            )


def _shared(address: str, production: Mapping[str, Mapping[str, Address]]) -> Address | None:
    """Where the sandbox serves something that all lanes share; None for what is unknown or every lane's own."""
    return production.get(address, {}).get("")
