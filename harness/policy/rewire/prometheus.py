"""prometheus.yml, pointed at the sandbox: targets by lane, Alertmanager, and nothing that leaves the machine."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from harness.model.findings import Finding, Severity, Subject
from harness.model.stack import LANE_LABEL, SHARED, Address, Difference, Sandbox, target_file
from harness.policy.parse.discovery import DISCOVERY, named
from harness.policy.parse.prometheus import remote_address
from harness.policy.parse.yaml import Items, Node, Scalar, Table
from harness.policy.rewire.document import NOTHING, Edits, Value, entries, settings, shown, text_of

_LANES = "each lane is an environment of its own, and so is what all lanes share"
_SANDBOX = "the sandbox serves it here"
_NOWHERE = "an address of no component in stack.yaml: it points nowhere, so that nothing leaves the machine"
_PLAIN = "the sandbox serves plain HTTP on loopback"
_UNWATCHED = "this run does without the component, and nobody looks for it"
_WITHOUT = "this run does without the storage that it writes to"

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
_REFRESH = "1s"  # how often target files are read where the kernel tells of no change to them
_DISCOVERY = re.compile(r"\w+_sd_configs")


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a target went: `lane` is SHARED where all lanes share it, None where it is of no component."""

    target: str
    lane: str | None


@dataclass(frozen=True, slots=True)
class TargetFiles:
    """The copy's target files by path, and how they differ from production's, which they replace."""

    files: Mapping[str, Value]
    differences: tuple[Difference, ...]


def rewire(
    document: dict[str, Value],
    edits: Edits,
    sandbox: Sandbox,
    found: Mapping[str, Sequence[Value]],
    left_out: Collection[str] = (),
) -> TargetFiles:
    """Points a prometheus.yml at the sandbox, in place.

    Args:
        document: production's.
        edits: takes every difference.
        sandbox: where it is pointed.
        found: production's target files, by path.
        left_out: addresses of components that production has and this sandbox does without.
    """
    targets = _Discovery(sandbox, found)
    world = settings(document.get("global"))
    edits.drop(world, "global", ("query_log_file", "scrape_failure_log_file"), "logs stay in the sandbox")
    edits.drop(document, "", ("scrape_config_files",), "jobs that another file brings are not in the copy")
    edits.drop(document, "", ("tracing",), "nothing leaves the machine")
    for kind in ("remote_write", "remote_read"):
        _remotes(document, kind, edits, sandbox, left_out)
    for index, entry in enumerate(entries(document.get("scrape_configs"))):
        _leave_out(settings(entry), f"scrape_configs[{index}].{_STATIC}", edits, left_out)
        _job(settings(entry), f"scrape_configs[{index}]", edits, sandbox, targets)
    alerting = settings(document.get("alerting"))
    for index, entry in enumerate(entries(alerting.get("alertmanagers"))):
        _alertmanager(settings(entry), f"alerting.alertmanagers[{index}]", edits, sandbox)
    return TargetFiles(targets.files, tuple(dict.fromkeys(targets.differences)))


def _remotes(document: dict[str, Value], kind: str, edits: Edits, sandbox: Sandbox, left_out: Collection[str]) -> None:
    """Remote storage: the sandbox's own, none where the sandbox does without it, nowhere where nobody declares it.

    Prometheus would try for ever to send to a storage that was left out on purpose, and tell of it all the time.
    """
    kept: list[Value] = []
    remotes = entries(document.get(kind))
    for index, entry in enumerate(remotes):
        path, remote = f"{kind}[{index}]", settings(entry)
        before = text_of(remote.get("url"))
        host = remote_address(before)
        address = _shared(host, sandbox.production)
        if address is None and host in left_out:
            edits.note(path, shown(before), NOTHING, _WITHOUT)
            continue
        if address is None:
            edits.drop(remote, path, _CLIENT, "nothing leaves the machine")
            edits.put(remote, path, "url", f"http://{sandbox.nowhere}/", "nothing leaves the machine")
        else:
            edits.drop(remote, path, _CLIENT, _PLAIN)
            # Told whole, not redacted as other URLs are: it leads to a component of ours and holds no secret.
            parts = urlsplit(before)
            after = urlunsplit(("http", str(address), parts.path, parts.query, ""))
            remote["url"] = after
            edits.note(f"{path}.url", shown(before), after, _SANDBOX)
        kept.append(entry)
    if len(kept) != len(remotes):
        document.pop(kind)
        if kept:
            document[kind] = kept


def _leave_out(job: dict[str, Value], path: str, edits: Edits, left_out: Collection[str]) -> None:
    """Takes those targets from a job that are left out on purpose: who is not there is neither missed nor down."""
    groups = entries(job.get(_STATIC))
    kept: list[Value] = []
    for index, entry in enumerate(groups):
        group = settings(entry)
        targets = entries(group.get("targets"))
        stay = [target for target in targets if _netloc(text_of(target)) not in left_out]
        for number, target in enumerate(targets):
            if _netloc(text_of(target)) in left_out:
                edits.note(f"{path}[{index}].targets[{number}]", shown(target), NOTHING, _UNWATCHED)
        if len(stay) == len(targets):
            kept.append(entry)
        elif stay:
            kept.append({**group, "targets": stay})
    if kept != groups:
        job[_STATIC] = kept


def target_files(tree: Node, files: Collection[str]) -> tuple[str, ...]:
    """Those of the policies' files that jobs take their targets from."""
    patterns = [pattern for job in _jobs(tree) for pattern in _patterns(job.get(DISCOVERY))]
    return named((pattern.text for pattern in patterns), files)


def undiscoverable(tree: Node, files: Collection[str]) -> Iterator[Finding]:
    """What a copy cannot take along: targets that are found at run time, and jobs that other files bring.

    Target files that are among the policies' `files` are taken along.
    """
    if not isinstance(tree, Table):
        return
    others = tree.key("scrape_config_files")
    if others is not None:
        yield _left_out(others, "the jobs of scrape_config_files are not in the copy", Subject("file", others.text))
    for job in _jobs(tree):
        name = job.get("job_name")
        called = name.text if isinstance(name, Scalar) else "?"
        for entry in job.entries:
            key = entry.key
            if not _discovers(key.text):
                continue
            patterns = _patterns(entry.value) if key.text == DISCOVERY else ()
            lost = [pattern for pattern in patterns if not named([pattern.text], files)]
            for at, what in [(one, one.text) for one in lost] if patterns else [(key, key.text)]:
                yield _left_out(
                    at, f"the targets that {what} finds for job {called!r} are not in the copy", Subject("job", called)
                )


def _jobs(tree: Node) -> Iterator[Table]:
    jobs = tree.get("scrape_configs") if isinstance(tree, Table) else None
    return (job for job in (jobs.items if isinstance(jobs, Items) else ()) if isinstance(job, Table))


def _patterns(configs: Node | None) -> tuple[Scalar, ...]:
    """The patterns of a job's `file_sd_configs`."""
    lists = [
        one.get("files") for one in (configs.items if isinstance(configs, Items) else ()) if isinstance(one, Table)
    ]
    return tuple(
        pattern for one in lists if isinstance(one, Items) for pattern in one.items if isinstance(pattern, Scalar)
    )


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


def _job(job: dict[str, Value], path: str, edits: Edits, sandbox: Sandbox, discovery: _Discovery) -> None:
    edits.drop(job, path, _CLIENT, _PLAIN)
    lanes = discovery.follow(job, path, edits)
    lost = [key for key in job if _discovers(key) and (key != DISCOVERY or not lanes)]
    edits.drop(job, path, lost, "targets found at run time are not in the sandbox")
    rewritten: list[Value] = []
    for index, entry in enumerate(entries(job.get(_STATIC))):
        for static in _static(settings(entry), f"{path}.{_STATIC}[{index}]", edits, sandbox):
            rewritten.append(static.config)
            lanes.add(static.lane)
    if _STATIC in job:
        job[_STATIC] = rewritten
    _relabelling(job, path, edits, sandbox, laned=bool(lanes - {None}))


class _Discovery:
    """What becomes of target files: every job gets one for each lane, so that a lane's targets can be withdrawn alone.

    Prometheus reads a target file anew when it changes; in a file of all lanes one lane could not be touched without
    the others being read anew too.
    """

    def __init__(self, sandbox: Sandbox, found: Mapping[str, Sequence[Value]]) -> None:
        self.files: dict[str, Value] = {}
        self.differences: list[Difference] = []
        self._sandbox = sandbox
        self._found = found

    def follow(self, job: dict[str, Value], path: str, edits: Edits) -> set[str | None]:
        """Writes the copy's target files of a job, and their names into it; the lanes that they are of."""
        patterns = [
            text_of(pattern)
            for entry in entries(job.get(DISCOVERY))
            for pattern in entries(settings(entry).get("files"))
        ]
        lanes: set[str | None] = set()
        groups: dict[str, list[Value]] = {}
        names = named(patterns, self._found)
        for name in names:
            of_file = Edits(name)
            for index, group in enumerate(self._found[name]):
                for static in _static(settings(group), f"[{index}]", of_file, self._sandbox):
                    if static.config.get("targets"):
                        lanes.add(static.lane)
                        groups.setdefault(static.lane or SHARED, []).append(static.config)
            self.differences.extend(of_file.differences)
        folder = names[0].rpartition("/")[0] if names else ""
        written: list[Value] = []
        for lane, of_lane in groups.items():
            file = target_file(folder, text_of(job.get("job_name")), lane)
            self.files[file] = of_lane
            written.append(file)
        if written:
            follows: list[Value] = [{"files": written, "refresh_interval": _REFRESH}]
            edits.put(job, path, DISCOVERY, follows, "each lane has target files of its own")
        return lanes


@dataclass(frozen=True, slots=True)
class _Static:
    """One static configuration of the copy."""

    config: dict[str, Value]
    lane: str | None


def _static(static: dict[str, Value], path: str, edits: Edits, sandbox: Sandbox) -> Iterator[_Static]:
    """One static configuration becomes one for each lane, one for what all share, and one for what is nowhere."""
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
    return tuple(_Place(_replaced(target, address), lane or SHARED) for lane, address in by_lane.items())


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
