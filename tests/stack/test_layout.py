"""Ports, folders, credentials and command lines, before anything starts."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from stack_doubles import INFRASTRUCTURE, component, policies, server

from harness.errors import StackError
from harness.model.policy import ComponentPolicy
from harness.model.stack import Address, Artifact
from harness.stack.components.registry import COMPONENTS, component_of
from harness.stack.layout import Layout, artifacts_needed, lay_out
from harness.stack.ports import Ports, who_listens
from harness.stack.runtimes import Launch

PROGRAMS = {
    "prometheus": ("prometheus",),
    "alertmanager": ("alertmanager",),
    "node-exporter": ("node_exporter",),
    "mysqld-exporter": ("mysqld_exporter",),
    "redis-exporter": ("redis_exporter",),
    "elasticsearch-exporter": ("elasticsearch_exporter",),
    "chdb": (),
    "mariadb": ("mariadbd", "mariadb-install-db"),
    "redis": ("redis-server",),
}
OWN_FILE = {"nginx", "elasticsearch", "filebeat", "influxdb"}
"""Kinds whose own configuration file says where they listen: their own tests look into it."""

ARTIFACTS = {
    name: Artifact(name, "1.0", "apt", "/root", {p: f"/root/usr/bin/{p}" for p in programs}, {"LD_LIBRARY_PATH": "/l"})
    for name, programs in PROGRAMS.items()
}
Lay = Callable[..., Layout]


@pytest.fixture
def lay(tmp_path: Path) -> Iterator[Lay]:
    """Lays components out; gives the ports back at the end."""
    made: list[Layout] = []

    def make(*components: ComponentPolicy, lanes: Sequence[str] = ("a", "b"), manifests: Path | None = None) -> Layout:
        made.append(
            lay_out(
                policies(*components, root=tmp_path / "policies"),
                ARTIFACTS,
                lanes,
                run="run-1",
                sandbox=tmp_path / "sandbox",
                logs=tmp_path / "logs",
                cache=tmp_path / "cache",
                environment={"alertmanager": {"SSL_CERT_FILE": "/ca.pem"}},
                manifests=manifests,
            )
        )
        return made[-1]

    yield make
    for layout in made:
        layout.close()


def launch_of(layout: Layout, name: str, lane: str | None = None) -> Launch:
    """How a component would be started."""
    site = layout.site(name, lane)
    return component_of(site.component.kind).launch(site)


def refuses(address: Address) -> bool:
    """Whether nobody listens there."""
    try:
        socket.create_connection((address.host, address.port), timeout=1).close()
    except ConnectionRefusedError:
        return True
    return False


class TestPorts:
    """A port is ours from the moment it was chosen."""

    def test_a_held_port_is_refused_and_given_to_nobody(self) -> None:
        """Connections to it are refused, and the kernel never offers it to who asks for any port."""
        ports = Ports()
        held = ports.take()
        assert refuses(held)
        others = Ports()
        assert held not in {others.take() for _ in range(500)}
        others.close()
        ports.close()

    def test_a_server_can_listen_on_it(self) -> None:
        """A server that sets SO_REUSEADDR takes the port while it is held; who listens there can then be told."""
        ports = Ports()
        held = ports.take()
        with socket.create_server((held.host, held.port)):
            assert not refuses(held)
            assert f"process {os.getpid()} (" in (who_listens(held) or "")
        assert who_listens(held) is None
        ports.close()

    def test_a_released_port_is_free(self) -> None:
        """A server that does not set SO_REUSEADDR can bind after the release, and could not before."""
        ports = Ports()
        held = ports.take()
        plain = socket.socket()
        with pytest.raises(OSError, match="in use"):
            plain.bind((held.host, held.port))
        ports.release(held)
        ports.release(held)
        plain.bind((held.host, held.port))
        plain.close()


class TestLayout:
    """Who stands where, and who knows whom."""

    def test_every_address_of_production_has_its_place(self, lay: Lay) -> None:
        """A shared component is served under no lane's key, a lane's own under every lane, each at its own port."""
        layout = lay(*INFRASTRUCTURE)
        assert set(layout.production) == {address for one in INFRASTRUCTURE for address in one.addresses}
        assert set(layout.production["prometheus:9090"]) == {""}
        assert set(layout.production["mysql:3306"]) == {"a", "b"}
        served = [address for places in layout.production.values() for address in places.values()]
        assert len({*served, layout.nowhere}) == 3 + 2 * 4 + 1
        assert {address.host for address in served} == {"127.0.0.1"}

    def test_database_and_cache_are_reached_through_a_relay(self, lay: Lay) -> None:
        """Everybody, Prometheus and the exporters included, knows the relay's address and not the component's own."""
        layout = lay(*INFRASTRUCTURE)
        lane = layout.lane("a")
        assert set(lane.behind) == {"mysql", "redis"}
        for name, kind in (("mysql", "mariadb"), ("redis", "redis")):
            own = layout.site(name, "a").address
            assert own == lane.behind[name] != lane.addresses[name]
            assert layout.production[layout.site(name, "a").component.addresses[0]]["a"] == lane.addresses[name]
            assert layout.site("mysql-exporter", "a").peers[kind] == lane.addresses[name]

    def test_lanes_share_nothing_of_their_own(self, lay: Lay) -> None:
        """Ports, folders, logs and credentials of two lanes are different."""
        layout = lay(*INFRASTRUCTURE)
        one, other = (layout.site("mysql", lane) for lane in ("a", "b"))
        assert one.data != other.data
        assert one.log != other.log
        assert one.log.name == "mysql.a.log"
        assert one.secrets["mysql_password"] != other.secrets["mysql_password"]
        assert layout.secrets["a"] == one.secrets
        assert layout.site("mysql-exporter", "a").secrets == one.secrets
        assert (
            layout.site("mysql-exporter", "a").peers["mariadb"] != layout.site("mysql-exporter", "b").peers["mariadb"]
        )

    def test_nowhere_is_nowhere(self, lay: Lay) -> None:
        """Nobody listens at the address that stands for the unknown."""
        assert refuses(lay(*INFRASTRUCTURE).nowhere)

    def test_what_the_provisioner_must_bring_follows_from_the_policies(self) -> None:
        """Each kind's artifact once; the subject needs none."""
        assert artifacts_needed(policies(*INFRASTRUCTURE, *INFRASTRUCTURE[:1], server("app"))) == (
            "prometheus",
            "alertmanager",
            "node-exporter",
            "mariadb",
            "redis",
            "mysqld-exporter",
            "redis-exporter",
        )

    def test_two_databases_in_a_lane_are_refused(self, lay: Lay) -> None:
        """Nobody could say which one the exporter and the subject mean."""
        mysql, exporter = INFRASTRUCTURE[3], INFRASTRUCTURE[5]
        with pytest.raises(StackError, match="mysql, second"):
            lay(mysql, replace(mysql, name="second"), exporter)

    def test_an_unknown_kind_is_a_sentence(self, lay: Lay) -> None:
        """The kinds that there are stand in the message."""
        with pytest.raises(StackError, match="of kind mongodb") as caught:
            lay(component("store", "mongodb"))
        assert "mariadb" in str(caught.value)

    def test_a_missing_peer_is_a_sentence(self, lay: Lay) -> None:
        """An exporter without its database says what it needs and what it can reach."""
        layout = lay(component("mysql-exporter", "mysqld-exporter"))
        with pytest.raises(StackError, match="mysql-exporter of lane a needs a component of kind mariadb"):
            layout.site("mysql-exporter", "a").peer("mariadb")

    def test_unknown_names_are_sentences(self, lay: Lay) -> None:
        """A lane or a component that is not there is told with those that are."""
        layout = lay(*INFRASTRUCTURE)
        with pytest.raises(StackError, match="no lane z"):
            layout.lane("z")
        with pytest.raises(StackError, match=r"no component mysql\n"):
            layout.site("mysql")


class TestCommandLines:
    """The unit's own flags are kept; addresses and paths are replaced, and each replacement is listed."""

    @pytest.mark.parametrize("kind", sorted({component.kind for component in COMPONENTS} - OWN_FILE))
    def test_everything_listens_on_loopback(self, lay: Lay, kind: str) -> None:
        """Whatever a unit says, no component serves more than 127.0.0.1, and its home is in the sandbox."""
        others = [
            component(kind, kind, per_lane=False)
            for kind in (
                "dead-mans-listener",
                "event-collector",
                "clickhouse",
                "emitter",
                "elasticsearch",
                "elasticsearch-exporter",
            )
        ]
        layout = lay(*INFRASTRUCTURE, component("app", "subject"), *others, lanes=("a",))
        site = next(site for site in layout.sites if site.component.kind == kind)
        launch = component_of(kind).launch(site)
        told = [*launch.argv, *(f"{name}={value}" for name, value in launch.environment.items())]
        assert any(str(site.address) in word or word.endswith(str(site.address.port)) for word in told)
        assert not any("0.0.0.0" in word for word in launch.argv)
        assert launch.environment["HOME"] == str(site.data)

    def test_the_policy_in_the_flags_is_kept(self, lay: Lay) -> None:
        """Retention, resend delay and limits of production stand in the sandbox too."""
        layout = lay(*INFRASTRUCTURE)
        prometheus = launch_of(layout, "prometheus").argv
        assert "--storage.tsdb.retention.time=90d" in prometheus
        assert "--rules.alert.resend-delay=5s" in prometheus
        assert "--data.maintenance-interval=5s" in launch_of(layout, "alertmanager").argv
        assert {"--max-connections=60", "--slow-query-log"} <= set(launch_of(layout, "mysql", "a").argv)

    def test_replacements_are_listed(self, lay: Lay) -> None:
        """What production said, what runs and why, for each flag that was touched."""
        launch = launch_of(lay(*INFRASTRUCTURE), "prometheus")
        listed = {one.path: (one.before, one.after) for one in launch.differences}
        assert listed["ExecStart"] == ("/usr/bin/prometheus", "/root/usr/bin/prometheus")
        before, after = listed["ExecStart --config.file"]
        assert before == "/etc/prometheus/prometheus.yml"
        assert f"--config.file={after}" in launch.argv
        assert listed["ExecStart --web.enable-lifecycle"] == ("", "on")
        assert not any("retention" in path for path in listed)
        assert all(one.why and one.file == "policies/units/some.service" for one in launch.differences)

    def test_a_flag_is_replaced_in_its_own_spelling(self, lay: Lay) -> None:
        """With a space or an equals sign, one dash or two, repeated or not: one flag, the sandbox's value."""
        for spelling, expected in (
            ("--web.listen-address=:9104", ["--web.listen-address={}"]),
            ("-web.listen-address :9104", ["-web.listen-address", "{}"]),
            ("--web.listen-address=:9104 --web.listen-address=[::1]:9104", ["--web.listen-address={}"]),
        ):
            changed = component(
                "node-exporter", "node-exporter", f"/bin/x {spelling} --no-collector.wifi", per_lane=False
            )
            layout = lay(changed)
            argv = launch_of(layout, "node-exporter").argv
            address = str(layout.site("node-exporter").address)
            assert list(argv[1:]) == [*(word.format(address) for word in expected), "--no-collector.wifi"]
            layout.close()

    def test_what_a_unit_switched_off_stays_off(self, lay: Lay) -> None:
        """A default of the sandbox does not overrule what the unit says."""
        made = component("mysql", "mariadb", "/bin/mariadbd --innodb_use_native_aio=1 --innodb-log-file-size=8M")
        argv = launch_of(lay(made), "mysql", "a").argv
        assert "--innodb_use_native_aio=1" in argv
        assert "--innodb-log-file-size=8M" in argv
        assert not [word for word in argv if word in {"--innodb-use-native-aio=0", "--innodb-log-file-size=4M"}]

    def test_clustering_is_off(self, lay: Lay) -> None:
        """One Alertmanager runs: peers of production's are neither awaited nor asked."""
        made = component(
            "alertmanager",
            "alertmanager",
            "/bin/alertmanager --cluster.peer=other:9094 --cluster.listen-address=0.0.0.0:9094",
            per_lane=False,
        )
        launch = launch_of(lay(made), "alertmanager")
        assert "--cluster.listen-address=" in launch.argv
        assert not any("peer" in word for word in launch.argv)
        assert "ExecStart --cluster.peer" in {one.path for one in launch.differences}
        assert launch.environment["SSL_CERT_FILE"] == "/ca.pem"

    def test_credentials_of_production_go_nowhere(self, lay: Lay) -> None:
        """Neither a command line nor an environment nor the list of differences holds a password of a unit."""
        exporter = component(
            "redis-exporter", "redis-exporter", "/bin/x -redis.password hunter2 -redis.addr redis://r:1"
        )
        unit = exporter.unit
        assert unit is not None
        exporter = replace(exporter, unit=replace(unit, environment={"REDIS_PASSWORD": "hunter2", "GOGC": "50"}))
        launch = launch_of(lay(exporter, INFRASTRUCTURE[4]), "redis-exporter", "a")
        assert "hunter2" not in repr(launch)
        assert launch.environment["GOGC"] == "50"
        assert {"ExecStart --redis.password", "Environment REDIS_PASSWORD"} <= {one.path for one in launch.differences}

    def test_the_exporter_of_the_store_looks_at_the_sandbox_alone(self, lay: Lay) -> None:
        """Production's address and its credentials stay there; how long it waits is policy, and stays as it is."""
        exporter = component(
            "store-exporter",
            "elasticsearch-exporter",
            "/bin/x --es.uri=http://admin:hunter2@store:9200 --es.timeout=1s --es.ca=/etc/ca.pem",
            per_lane=False,
        )
        store = component("store", "elasticsearch", "/bin/y", per_lane=False)
        unit = exporter.unit
        assert unit is not None
        exporter = replace(exporter, unit=replace(unit, environment={"ES_PASSWORD": "hunter3"}))
        layout = lay(exporter, store)
        launch = launch_of(layout, "store-exporter")
        assert "hunter" not in repr(launch)
        where = layout.site("store-exporter").peer("elasticsearch")
        assert {f"--es.uri=http://{where}", "--es.timeout=1s"} <= set(launch.argv)
        assert not any("--es.ca" in word for word in launch.argv)

    def test_no_secret_is_on_a_command_line(self, lay: Lay) -> None:
        """Command lines can be read by every user of the machine."""
        layout = lay(*INFRASTRUCTURE, component("app", "subject"))
        hidden = [value for name, value in layout.secrets["a"].items() if name.endswith("password")]
        assert len(hidden) == 2
        for site in layout.sites:
            argv = " ".join(component_of(site.component.kind).launch(site).argv)
            assert not [secret for secret in hidden if secret in argv]

    def test_the_stand_in_is_configured_by_its_environment(self, lay: Lay) -> None:
        """The subject knows its database and cache by the relay, and its lane by name."""
        layout = lay(*INFRASTRUCTURE, component("app", "subject"))
        environment = launch_of(layout, "app", "b").environment
        lane, secrets = layout.lane("b"), layout.secrets["b"]
        assert environment["LISTEN"] == str(layout.site("app", "b").address)
        assert environment["DATABASE_URL"] == (
            f"mysql://{secrets['mysql_user']}:{secrets['mysql_password']}@{lane.addresses['mysql']}"
            f"/{secrets['mysql_database']}"
        )
        assert environment["REDIS_URL"] == f"redis://{lane.addresses['redis']}/0"
        assert environment["ENVIRONMENT"] == "b"

    def test_who_writes_records_is_told_where_to_announce_them(self, lay: Lay, tmp_path: Path) -> None:
        """Folder, run and lane, where the run follows records; else nothing."""
        app = component("app", "subject")
        told = launch_of(lay(*INFRASTRUCTURE, app, manifests=tmp_path / "m"), "app", "b").environment
        assert (told["MANIFEST_DIR"], told["RUN_ID"], told["LANE"]) == (str(tmp_path / "m"), "run-1", "b")
        assert not {"MANIFEST_DIR", "RUN_ID", "LANE"} & set(
            launch_of(lay(*INFRASTRUCTURE, app), "app", "b").environment
        )

    def test_a_teams_own_command_takes_its_place(self, lay: Lay, tmp_path: Path) -> None:
        """It runs in the project's folder, finds its program there or on PATH, and gets the same variables."""
        program = tmp_path / "bin" / "serve"
        program.parent.mkdir()
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
        for command, expected in ((("bin/serve", "--now"), str(program)), (("sh", "-c", "x"), "/sh")):
            launch = launch_of(lay(component("app", "subject", "/srv/app", command=command)), "app", "a")
            assert launch.argv[0].endswith(expected)
            assert launch.argv[1:] == command[1:]
            assert launch.directory == tmp_path
            assert "LISTEN" in launch.environment
            assert "DATABASE_URL" not in launch.environment, "there is no database to know"
        with pytest.raises(StackError, match="bin/none is not a program"):
            launch_of(lay(component("app", "subject", command=("bin/none",))), "app", "a")
