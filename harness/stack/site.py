"""Where one component stands in the sandbox: everything that it needs to know to be started."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import StackError
from harness.model.policy import ComponentPolicy
from harness.model.stack import Address, Artifact


@dataclass(frozen=True, slots=True)
class Site:
    """One component in one place.

    Args:
        run: the id of the run.
        component: what the policy says of it.
        lane: the lane that it belongs to, or None.
        address: where it listens; where a relay stands in its path, its peers know another address, the relay's.
        data: its own folder in the sandbox, made before it is prepared.
        log: where its output goes, appended.
        cache: the user's cache, for what is made once and copied.
        project: the folder that holds the policies, where a team's own command runs.
        artifact: what the provisioner brought for it; None for the subject.
        configuration: its native configuration file in the rewired copy, or the folder of its files, where it has one.
        peers: what it may connect to, by kind (`mariadb`, `redis`), as it reaches them.
        secrets: the credentials of its lane, made for this run.
        environment: variables that the harness adds (`SSL_CERT_FILE`).
        manifests: the run's folder in which writers of records announce them; None: nobody asks for their records.
        production: addresses of production (`community-platform:5000`), and where it reaches them.
        nowhere: where an address leads that is of no component.
    """

    run: str
    component: ComponentPolicy
    lane: str | None
    address: Address
    data: Path
    log: Path
    cache: Path
    project: Path
    artifact: Artifact | None = None
    configuration: Path | None = None
    peers: Mapping[str, Address] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    manifests: Path | None = None
    production: Mapping[str, Address] = field(default_factory=dict)
    nowhere: Address | None = None

    @property
    def name(self) -> str:
        """The component's name in the policy."""
        return self.component.name

    @property
    def title(self) -> str:
        """What a message calls it: its name, with the lane that it belongs to."""
        return f"{self.name} of lane {self.lane}" if self.lane else self.name

    def peer(self, kind: str) -> Address:
        """Where it reaches the component of a kind.

        Raises:
            StackError: the policy has none.
        """
        try:
            return self.peers[kind]
        except KeyError:
            raise StackError(
                f"{self.title} needs a component of kind {kind}",
                expected=f"a component of kind {kind}, in the same lane or shared by all",
                seen=f"kinds that it can reach: {', '.join(sorted(self.peers)) or 'none'}",
                hint=f"declare it among the components, or leave {self.name} out",
            ) from None

    def program(self, name: str) -> str:
        """The absolute path of a program that the provisioner brought.

        Raises:
            StackError: it was not brought.
        """
        if self.artifact is None or name not in self.artifact.programs:
            raise StackError(
                f"The program {name} of {self.title} was not provisioned",
                hint="`tocsin stack fetch` brings every component into the cache",
            )
        return self.artifact.programs[name]
