"""Where everything will stand: ports, folders and credentials, chosen before anything starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import StackError
from harness.model.policy import ComponentPolicy, Policies
from harness.model.stack import SHARED, Address, Artifact, Lane, ReceiverBinding, Sandbox
from harness.stack.components.registry import component_of
from harness.stack.ports import Ports
from harness.stack.site import Site


@dataclass(frozen=True, slots=True)
class Layout:
    """A stack that does not run yet.

    Args:
        sites: every component in every place; shared ones first.
        lanes: the lanes with their addresses.
        shared: what all lanes share, in the form of a lane; its name is SHARED.
        configuration: the folder in the sandbox that takes the rewired copy.
        production: an address of production -> lane (or "" for what all share) -> where the sandbox serves it.
        nowhere: an address where nothing listens and nobody else can.
        secrets: the credentials of each lane ("" for what all share).
        ports: holds every port of the layout until it is closed.
    """

    sites: tuple[Site, ...]
    lanes: tuple[Lane, ...]
    shared: Lane
    configuration: Path
    production: Mapping[str, Mapping[str, Address]]
    nowhere: Address
    secrets: Mapping[str, Mapping[str, str]]
    ports: Ports

    def lane(self, name: str) -> Lane:
        """The lane of that name, or what all lanes share.

        Raises:
            StackError: there is none.
        """
        for lane in (*self.lanes, self.shared):
            if lane.name == name:
                return lane
        raise StackError(f"There is no lane {name}", seen=f"lanes: {', '.join(lane.name for lane in self.lanes)}")

    def site(self, name: str, lane: str | None = None) -> Site:
        """Where a component stands.

        Raises:
            StackError: there is none of that name in that lane.
        """
        for site in self.sites:
            if site.name == name and site.lane == lane:
                return site
        where = f" in lane {lane}" if lane else ""
        raise StackError(f"There is no component {name}{where}", seen=", ".join(site.title for site in self.sites))

    def sandbox(self, bindings: Sequence[ReceiverBinding]) -> Sandbox:
        """What the rewire needs to point a copy here."""
        return Sandbox(
            lanes=tuple(lane.name for lane in self.lanes),
            production=self.production,
            nowhere=self.nowhere,
            bindings=tuple(bindings),
            logs=self.logs,
        )

    @property
    def logs(self) -> Mapping[str, Mapping[str, str]]:
        """By component and lane ("" for what all share) the folder that stands for production's `/var/log/<name>`."""
        folders: dict[str, dict[str, str]] = {}
        for site in self.sites:
            folders.setdefault(site.name, {})[site.lane or ""] = str(site.data / "logs")
        return folders

    def close(self) -> None:
        """Gives the ports back."""
        self.ports.close()


def artifacts_needed(policies: Policies) -> tuple[str, ...]:
    """The names under which the provisioner knows what these policies need, each once.

    Raises:
        StackError: a component is of a kind that we do not know.
    """
    wanted = [component_of(component.kind).artifact for component in policies.components]
    return tuple(dict.fromkeys(name for name in wanted if name is not None))


def lay_out(
    policies: Policies,
    artifacts: Mapping[str, Artifact],
    lanes: Sequence[str],
    *,
    run: str,
    sandbox: Path,
    logs: Path,
    cache: Path,
    environment: Mapping[str, Mapping[str, str]] | None = None,
    manifests: Path | None = None,
) -> Layout:
    """Chooses a place for every component in every lane; nothing is started and nothing is written.

    Args:
        policies: which components there are.
        artifacts: what the provisioner brought, by its name there.
        lanes: the lanes' names.
        run: the run's id.
        sandbox: the run's folder; a short path, for Unix sockets.
        logs: the folder of the components' logs.
        cache: the user's cache.
        environment: variables to add, by kind of component (`{"alertmanager": {"SSL_CERT_FILE": …}}`).
        manifests: the folder in which those who write records announce them; None: no record has an identity.

    Raises:
        StackError: a kind is unknown, no port can be had, a lane has two components of a kind that others look for, or
            bears the name of what all lanes share.
    """
    ports = Ports()
    try:
        return _Draft(
            policies,
            artifacts,
            run,
            sandbox.absolute(),
            logs.absolute(),
            cache.absolute(),
            environment or {},
            ports,
            manifests.absolute() if manifests else None,
        ).lay_out(lanes)
    except StackError:
        ports.close()
        raise


@dataclass(frozen=True, slots=True)
class _Place:
    """A component in one lane, or shared, with its addresses: its own, and the one that others reach it by."""

    component: ComponentPolicy
    lane: str | None
    own: Address
    reached: Address


@dataclass(frozen=True, slots=True)
class _Draft:
    """A layout in the making."""

    policies: Policies
    artifacts: Mapping[str, Artifact]
    run: str
    root: Path
    logs: Path
    cache: Path
    environment: Mapping[str, Mapping[str, str]]
    ports: Ports
    manifests: Path | None

    def lay_out(self, lanes: Sequence[str]) -> Layout:
        if SHARED in lanes:
            raise StackError(f"No lane can be called {SHARED}: that is the name of what all lanes share")
        components = self.policies.components
        shared = [self._place(component, None) for component in components if not component.per_lane]
        by_lane = {
            lane: [self._place(component, lane) for component in components if component.per_lane] for lane in lanes
        }
        nowhere = self.ports.take()
        shared_secrets = self._secrets(shared)
        secrets = {"": shared_secrets, **{lane: shared_secrets | self._secrets(by_lane[lane]) for lane in lanes}}
        sites = [self._site(place, _peers(shared), shared_secrets, _reached(shared), nowhere) for place in shared]
        for lane, places in by_lane.items():
            peers, reached = _peers(shared) | _peers(places), _reached([*shared, *places])
            sites.extend(self._site(place, peers, secrets[lane], reached, nowhere) for place in places)
        production: dict[str, dict[str, Address]] = {}
        for place in [*shared, *(place for places in by_lane.values() for place in places)]:
            for address in place.component.addresses:
                production.setdefault(address, {})[place.lane or ""] = place.reached
        return Layout(
            sites=tuple(sites),
            lanes=tuple(_lane(lane, places) for lane, places in by_lane.items()),
            shared=_lane(SHARED, shared),
            configuration=self.root / "policies",
            production=production,
            nowhere=nowhere,
            secrets=secrets,
            ports=self.ports,
        )

    def _place(self, component: ComponentPolicy, lane: str | None) -> _Place:
        own = self.ports.take()
        return _Place(component, lane, own, self.ports.take() if component_of(component.kind).relayed else own)

    def _secrets(self, places: Sequence[_Place]) -> dict[str, str]:
        secrets: dict[str, str] = {}
        for place in places:
            secrets |= component_of(place.component.kind).credentials()
        return secrets

    def _site(
        self,
        place: _Place,
        peers: Mapping[str, Address],
        secrets: Mapping[str, str],
        production: Mapping[str, Address],
        nowhere: Address,
    ) -> Site:
        component = place.component
        file_name = f"{component.name}.{place.lane}" if place.lane else component.name
        logs = self.policies.logs
        configuration = {
            "prometheus": self.policies.prometheus_file,
            "alertmanager": self.policies.alertmanager_file,
            "dead-mans-listener": self.policies.dead_man_file,
            "nginx": next(iter(self.policies.nginx_files), None),
            "event-collector": "events",
            "clickhouse": "clickhouse",
            "influxdb": "influxdb",
            "filebeat": logs.filebeat_file if logs else None,
            "elasticsearch": logs.search.folder if logs and logs.search else None,
        }.get(component.kind)
        artifact = component_of(component.kind).artifact
        return Site(
            run=self.run,
            component=component,
            lane=place.lane,
            address=place.own,
            data=self.root / file_name,
            log=self.logs / f"{file_name}.log",
            cache=self.cache,
            project=self.policies.root.absolute().parent,
            artifact=self.artifacts.get(artifact) if artifact else None,
            configuration=self.root / "policies" / configuration if configuration else None,
            peers=peers,
            secrets=secrets,
            environment=self.environment.get(component.kind, {}),
            manifests=self.manifests,
            production=production,
            nowhere=nowhere,
        )


def _lane(name: str, places: Sequence[_Place]) -> Lane:
    return Lane(
        name=name,
        addresses={place.component.name: place.reached for place in places},
        behind={place.component.name: place.own for place in places if place.own != place.reached},
    )


def _reached(places: Sequence[_Place]) -> dict[str, Address]:
    """Where these components are reached, by every address that production knows them by."""
    return {address: place.reached for place in places for address in place.component.addresses}


def _peers(places: Sequence[_Place]) -> dict[str, Address]:
    """Where others reach these components, by kind.

    Raises:
        StackError: two of them are of a kind that others look for, so nobody could say which one is meant.
    """
    peers: dict[str, Address] = {}
    looked_for = {kind for place in places for kind in component_of(place.component.kind).needs}
    for place in places:
        kind = place.component.kind
        if kind in peers and kind in looked_for:
            names = ", ".join(other.component.name for other in places if other.component.kind == kind)
            raise StackError(
                f"Several components of kind {kind} stand in one lane: {names}",
                expected="one of that kind, so that its exporter and the subject know which one is meant",
            )
        peers[kind] = place.reached
    return peers
