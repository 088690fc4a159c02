"""What stands in the sandbox: addresses, lanes, components, differences from production."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

LANE_LABEL = "environment"
"""The label that tells lanes apart, in samples, alerts and messages."""

SHARED = "shared"
"""The value of that label for what all lanes share, and the name of the lane in which faults of shared parts run."""


def target_file(folder: str, job: str, lane: str) -> str:
    """Where the rewired copy keeps the targets that a job discovers in a lane: `targets/node.lane-01.yml`."""
    return f"{folder}/{quote(job, safe='')}.{lane}.yml".lstrip("/")


def is_target_file(path: str, lane: str) -> bool:
    """Whether a file of the rewired copy holds discovered targets of that lane."""
    return path.endswith(f".{lane}.yml")


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """A TCP address on loopback."""

    host: str
    port: int

    def __str__(self) -> str:
        """`host:port`."""
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Artifact:
    """Something that the provisioner brought: where its files are, which version, from which kind of source.

    `programs` maps a program's name (`prometheus`, `promtool`) to its absolute path; `environment` is what these
    programs need to run (`LD_LIBRARY_PATH` of a private root); `root` is the private root they were unpacked into.
    """

    name: str
    version: str
    source: str
    root: str
    programs: Mapping[str, str]
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Lane:
    """One complete copy of the subject with its own database, cache and exporters.

    `name` is the value of the lane's `environment` label. `addresses` maps a component's name in the policy
    (`community-platform`, `mysql`, `mysql-exporter`, …) to where the sandbox reaches it. Where a relay stands in the
    path, `addresses` is the relay's and `behind` the component's own.
    """

    name: str
    addresses: Mapping[str, Address]
    behind: Mapping[str, Address]


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference between what runs in the sandbox and what production would run. Secrets are redacted."""

    file: str
    path: str
    before: str
    after: str
    why: str


@dataclass(frozen=True, slots=True)
class ReceiverBinding:
    """What the rewire puts into every integration of one configuration key, e.g. `slack_configs`.

    `settings` are written into each integration (`{receiver}` in a value becomes the receiver's name, quoted for a
    URL path; a name with a dot in it, `sigv4.region`, is a setting within a setting), `dropped` are removed from it
    before (`api_url_file`), `global_settings` are written into `global` and `global_dropped` removed from it. `secret`
    names the settings whose value is redacted in what is listed.
    """

    key: str
    settings: Mapping[str, str]
    dropped: tuple[str, ...] = ()
    global_settings: Mapping[str, str] | None = None
    global_dropped: tuple[str, ...] = ()
    secret: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ComponentReport:
    """A component as summary.json lists it; `of_kind` is what it is (`prometheus`), whatever the policy calls it."""

    name: str
    version: str
    runtime: str
    source: str
    ready_seconds: float
    of_kind: str = ""


@dataclass(frozen=True, slots=True)
class Sandbox:
    """Where a rewired copy is pointed at.

    `production` maps an address that production uses (`community-platform:5000`) to where the sandbox serves it, by
    lane; components that all lanes share have the single key `""`. `nowhere` is an address on loopback where nothing
    listens: an address of production that is of no known component is sent there, so that nothing leaves the machine
    and a wrong address stays wrong. `logs` maps a component's name to the folder (absolute) that stands for
    production's `/var/log/<name>`, by lane, or with the single key `""`.
    """

    lanes: tuple[str, ...]
    production: Mapping[str, Mapping[str, Address]]
    nowhere: Address
    bindings: tuple[ReceiverBinding, ...]
    logs: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
