"""A stack from start to stop: small servers first, the real components of the plan after them."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import aiomysql
import pytest
from stack_doubles import INFRASTRUCTURE, policies, server, until

from harness.drive.faults import LaneControl
from harness.errors import AddressTaken, ComponentDied, FaultError, NotReady, StackError
from harness.model.events import ComponentExited, ComponentReady, ComponentRestarted, Payload, Rewired
from harness.model.policy import ComponentPolicy
from harness.model.stack import SHARED, Address, Artifact
from harness.stack import guardian
from harness.stack.components.subject import Subject
from harness.stack.guard import Guard
from harness.stack.layout import Layout, lay_out
from harness.stack.ports import who_listens
from harness.stack.probe import Answer, ask
from harness.stack.runtimes.process import ProcessRuntime
from harness.stack.scrape import Expected, read_alertmanagers, read_configuration, read_targets
from harness.stack.stack import Stack

P = TypeVar("P")


class Standing:
    """A stack with what it wrote."""

    def __init__(self, stack: Stack, guard: Guard, events: list[Payload]) -> None:
        self.stack = stack
        self.layout = stack.layout
        self.guard = guard
        self.events = events

    def told(self, kind: type[P]) -> list[P]:
        """The events of a kind so far."""
        return [event for event in list[object](self.events) if isinstance(event, kind)]


@asynccontextmanager
async def standing(
    folder: Path,
    *components: ComponentPolicy,
    lanes: tuple[str, ...] = ("a",),
    artifacts: Mapping[str, Artifact] | None = None,
    cache: Path | None = None,
) -> AsyncIterator[Standing]:
    """A stack that is laid out and not up yet; down at the end."""
    async with Guard.open(f"test-{time.monotonic_ns()}", folder) as guard:
        layout = lay_out(
            policies(*components, root=folder / "policies"),
            artifacts or {},
            lanes,
            run=guard.run,
            sandbox=guard.sandbox,
            logs=folder / "logs",
            cache=cache or folder,
        )
        events: list[Payload] = []
        async with Stack(layout, ProcessRuntime(guard), events.append) as stack:
            yield Standing(stack, guard, events)


class TestSmallServers:
    """What holds for every stack, without a real component."""

    async def test_it_comes_up_in_every_lane_and_goes_down(self, tmp_path: Path) -> None:
        """Every component answers in every lane, is told as ready once, and is gone afterwards, ports included."""
        async with standing(tmp_path, server("app"), server("shared", per_lane=False), lanes=("a", "b")) as made:
            await made.stack.up({})
            assert {(one.report.name, one.lane) for one in made.told(ComponentReady)} == {
                ("app", "a"),
                ("app", "b"),
                ("shared", None),
            }
            assert all(0 < one.report.ready_seconds < 10 for one in made.told(ComponentReady))
            for site in made.layout.sites:
                assert await ask(site.address, "/health") == Answer(200, "")
            assert made.stack.component_tail("app", "b") == ("listening",)
            sites = made.layout.sites
        assert all(exited.expected for exited in made.told(ComponentExited))
        assert len(made.told(ComponentExited)) == 3
        assert [site.title for site in sites if who_listens(site.address)] == []
        assert not guardian.carriers(made.guard.run)

    async def test_a_server_of_any_kind_can_bind_its_port(self, tmp_path: Path) -> None:
        """A team's server that does not set SO_REUSEADDR is given its port alone."""
        async with standing(tmp_path, server("app", "plain")) as made:
            await made.stack.up({})
            assert await ask(made.layout.site("app", "a").address, "/health") == Answer(200, "")

    async def test_differences_from_production_are_told_once(self, tmp_path: Path) -> None:
        """Lanes differ in ports and folders alone: what was changed is listed for one of them."""
        async with standing(tmp_path, server("app"), lanes=("a", "b")) as made:
            await made.stack.up({})
            [rewired] = made.told(Rewired)
        assert rewired.difference.before == "/srv/app"
        assert rewired.difference.why == "the team's own command; likewise in every lane"

    async def test_dying_at_the_start_is_told_with_the_last_lines(self, tmp_path: Path) -> None:
        """A component that ends at once fails the start by name, with what it said; the rest is taken down."""
        with pytest.raises(ComponentDied, match="broken of lane a ended with code 1") as caught:
            # Told when it happened: who is not ready yet is not waited for.
            async with (
                standing(tmp_path, server("slow", "late"), server("broken", "dies")) as made,
                asyncio.timeout(10),
            ):
                await made.stack.up({})
        assert caught.value.output == ("no such table",)
        assert not guardian.carriers(made.guard.run)

    async def test_never_being_ready_is_told(self, tmp_path: Path) -> None:
        """At the deadline the message says who, what was missing and how long was waited; nothing stays."""
        with pytest.raises(NotReady, match="slow of lane a did not become ready") as caught:
            async with standing(tmp_path, server("slow", "late")) as made:
                await made.stack.up({}, deadline_seconds=0.3)
        assert "nobody listens" in (caught.value.seen or "")
        assert not guardian.carriers(made.guard.run)

    async def test_a_taken_port_is_told(self, tmp_path: Path) -> None:
        """Where somebody else listens at a component's port the message says so, and who it is."""
        async with standing(tmp_path, server("app")) as made:
            address = made.layout.site("app", "a").address
            with socket.create_server((address.host, address.port)) as taken:
                with pytest.raises(AddressTaken, match="app of lane a cannot listen") as caught:
                    await made.stack.up({})
                taken.close()
        assert "listens there" in (caught.value.seen or "")

    async def test_the_deaf_do_not_hold_up_the_stop(self, tmp_path: Path) -> None:
        """Components that ignore SIGTERM are killed after the grace, all at once."""
        async with standing(tmp_path, *(server(f"deaf-{n}", "deaf") for n in range(3))) as made:
            await made.stack.up({})
            began = time.monotonic()
            await made.stack.down()
            assert time.monotonic() - began < 1
            assert [one.code for one in made.told(ComponentExited)] == [-9, -9, -9]
            await made.stack.down()

    async def test_a_cancelled_start_leaves_nothing(self, tmp_path: Path) -> None:
        """Ctrl-C while the stack comes up takes down what stands already."""
        with pytest.raises(TimeoutError):
            async with standing(tmp_path, server("app"), server("slow", "late")) as made, asyncio.timeout(0.2):
                await made.stack.up({})
        assert not guardian.carriers(made.guard.run)

    async def test_a_crash_is_repaired_as_the_unit_says(self, tmp_path: Path) -> None:
        """The supervisor of a running stack restarts what died, on the same port."""
        async with standing(tmp_path, server("app")) as made:
            await made.stack.up({})
            [pid] = guardian.carriers(made.guard.run)
            guardian.kill(pid)
            await until(lambda: made.told(ComponentRestarted))
            assert await ask(made.layout.site("app", "a").address, "/health") == Answer(200, "")
            assert made.told(ComponentExited)[0].code == -9
            assert not made.told(ComponentExited)[0].expected
            assert not made.told(ComponentRestarted)[0].held

    async def test_a_lane_is_held_down_and_let_up(self, tmp_path: Path) -> None:
        """A fault sees its own lane down and the other one well, and well again afterwards."""
        async with standing(tmp_path, server("app"), lanes=("a", "b")) as made:
            await made.stack.up({})
            control: LaneControl = made.stack.lane("a")
            other = made.stack.lane("b").lane.addresses["app"]
            own = control.lane.addresses["app"]
            await control.hold_down("app")
            assert await ask(own, "/health") == f"nobody listens at {own}"
            assert await ask(other, "/health") == Answer(200, "")
            await control.let_up("app")
            await until(lambda: made.told(ComponentRestarted))
            assert made.told(ComponentRestarted)[0].held
            assert await ask(own, "/health") == Answer(200, "")

    async def test_what_a_lane_does_not_have_is_a_fault_error(self, tmp_path: Path) -> None:
        """A fault on a component that is not there, or has no relay in its path, is told with what there is."""
        async with standing(tmp_path, server("app")) as made:
            await made.stack.up({})
            control = made.stack.lane("a")
            with pytest.raises(FaultError, match="Nothing can be done to cache in lane a"):
                await control.hold_down("cache")
            with pytest.raises(FaultError, match="Nothing can be done to app"):
                await control.refuse("app")
            with pytest.raises(StackError, match="no lane z"):
                made.stack.lane("z")
            with pytest.raises(StackError, match="no component cache"):
                made.stack.component_tail("cache", "a")

    async def test_what_all_lanes_share_is_a_lane_to_faults(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Shared components, and they alone, with the relays in their paths; what only one side has is refused."""
        monkeypatch.setattr(Subject, "relayed", True)
        async with standing(tmp_path, server("app"), server("common", per_lane=False)) as made:
            await made.stack.up({})
            control, lane = made.stack.lane(SHARED), made.stack.lane("a")
            own, shown = made.layout.site("common").address, control.lane.addresses["common"]
            assert control.lane.addresses == {"common": shown}
            assert control.lane.behind == {"common": own}
            assert made.layout.production["common:1"] == {"": shown}
            await control.refuse("common")
            assert await ask(shown, "/health") == f"nobody listens at {shown}"
            assert await ask(own, "/health") == Answer(200, "")
            assert await ask(lane.lane.addresses["app"], "/health") == Answer(200, "")
            await control.restore("common")
            assert await ask(shown, "/health") == Answer(200, "")
            await control.hold_down("common")
            assert await ask(own, "/health") == f"nobody listens at {own}"
            await control.let_up("common")
            await until(lambda: made.told(ComponentRestarted))
            with pytest.raises(FaultError, match="Nothing can be done to app in lane shared"):
                await control.crash("app")
            with pytest.raises(FaultError, match="Nothing can be done to common in lane a"):
                await lane.refuse("common")
            with pytest.raises(FaultError, match="common has no configuration that it loads again"):
                await control.spoil_configuration("common")
            with pytest.raises(FaultError, match="no configuration of its own"):
                await lane.spoil_configuration("app")

    @pytest.mark.parametrize("name", ["a", SHARED])
    async def test_who_has_no_channels_is_told(self, tmp_path: Path, name: str) -> None:
        """A lane never has any; what is shared has them while sinks are open."""
        async with standing(tmp_path, server("app")) as made:
            control = made.stack.lane(name)
            with pytest.raises(FaultError, match=f"Lane {name} has no channels of its own"):
                assert control.channels

    async def test_the_copy_stays_in_the_sandbox(self, tmp_path: Path) -> None:
        """Files of the rewired copy are written below the sandbox; a path that leaves it is refused."""
        async with standing(tmp_path, server("app")) as made:
            await made.stack.up({"alerts/app.rules.yml": "groups: []\n"})
            assert (made.layout.configuration / "alerts/app.rules.yml").read_text() == "groups: []\n"
            for name in ("../escape.yml", "/etc/escape.yml", "alerts/../../escape.yml"):
                with pytest.raises(StackError, match="outside of the sandbox"):
                    await made.stack.reload_prometheus({name: ""})

    async def test_without_prometheus_its_questions_are_errors(self, tmp_path: Path) -> None:
        """Who asks for a component that the policies lack is told to add it."""
        async with standing(tmp_path, server("app")) as made:
            await made.stack.up({})
            with pytest.raises(StackError, match="declare no prometheus"):
                await made.stack.wait_first_scrape()


def test_targets_are_read_from_prometheuss_answers() -> None:
    """Health, pool and error of every target; whether an Alertmanager is configured and found."""
    body = {
        "data": {
            "activeTargets": [
                {"scrapePool": "app", "scrapeUrl": "http://127.0.0.1:5/metrics", "health": "up", "lastError": ""},
                {
                    "scrapePool": "app",
                    "scrapeUrl": "http://127.0.0.1:6/metrics",
                    "health": "down",
                    "lastError": "refused",
                },
                {"scrapePool": "new", "scrapeUrl": "http://127.0.0.1:7/metrics", "health": "unknown", "lastError": ""},
            ]
        }
    }
    targets = read_targets(body)
    assert [target.up for target in targets] == [True, False, False]
    assert targets[1].is_at(Address("127.0.0.1", 6))
    assert not targets[1].is_at(Address("127.0.0.1", 66))
    assert [str(target) for target in targets[1:]] == [
        "app at http://127.0.0.1:6/metrics: refused",
        "new at http://127.0.0.1:7/metrics: not scraped yet",
    ]
    assert read_alertmanagers({"data": {"activeAlertmanagers": [{"url": "x"}]}}) == 1
    text = (
        "alerting:\n  alertmanagers:\n  - scheme: http\n"
        "scrape_configs:\n- job_name: 'a b'\n  scrape_interval: 2s\n  static_configs:\n  - targets: [x:1]\n"
        "- job_name: c\n  file_sd_configs:\n  - files: [c.yml]\n- job_name: nowhere\n"
    )
    assert read_configuration({"data": {"yaml": text}}) == Expected(
        ("a b", "c"), alerting=True, intervals={"a b": "2s"}
    )
    assert read_configuration({"data": {"yaml": "global: {}\n"}}) == Expected((), alerting=False)
    with pytest.raises(StackError, match="form that we do not know"):
        read_targets({"status": "error"})


LANES = ("a", "b", "c")
RULES = "groups: [{name: g, rules: [{alert: Always, expr: vector(1)}]}]\n"
Config = Callable[..., dict[str, str]]


def configuration(layout: Layout, *, rules: str = "", wrong: bool = False, interval: str = "500ms") -> dict[str, str]:
    """A configuration that scrapes every component of the layout; with a job that leads nowhere if `wrong`."""
    jobs = [
        {
            "job_name": production.partition(":")[0],
            "static_configs": [{"targets": [str(address) for address in places.values()]}],
        }
        for production, places in layout.production.items()
        if production not in {"mysql:3306", "redis:6379"}
    ]
    if wrong:
        jobs.append({"job_name": "wrong", "static_configs": [{"targets": [str(layout.nowhere)]}]})
    alertmanager = str(layout.production["alertmanager:9093"][""])
    prometheus = {
        "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": "1s"},
        "rule_files": [rules] if rules else [],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]},
        "scrape_configs": jobs,
    }
    return {
        "prometheus.yml": json.dumps(prometheus),  # JSON is YAML
        "alertmanager.yml": "route: {receiver: none}\nreceivers: [{name: none}]\n",
    }


async def answered(made: Standing, path: str) -> Any:
    """What Prometheus's API answers."""
    answer = await ask(made.stack.address("prometheus"), f"/api/v1/{path}")
    assert isinstance(answer, Answer)
    return json.loads(answer.body)


async def samples(made: Standing, query: str) -> list[str]:
    """The values that Prometheus answers a query with."""
    return [result["value"][1] for result in (await answered(made, f"query?query={query}"))["data"]["result"]]


@pytest.mark.stack
class TestRealComponents:
    """Three lanes of the plan's infrastructure."""

    async def test_from_start_to_stop(self, tmp_path: Path, artifacts: Mapping[str, Artifact], cache: Path) -> None:
        """Everything is ready and scraped, rules are loaded afterwards, faults work in one lane alone, all stops."""
        made: Standing
        async with standing(tmp_path, *INFRASTRUCTURE, lanes=LANES, artifacts=artifacts, cache=cache) as made:
            await made.stack.up(configuration(made.layout, wrong=True))
            assert len(made.told(ComponentReady)) == 3 + 4 * len(LANES)
            down = await made.stack.wait_first_scrape()
            assert [target.pool for target in down] == ["wrong"], "only what leads nowhere is down"
            assert len(await samples(made, "mysql_up==1")) == len(LANES)
            assert await samples(made, "mysql_global_variables_max_connections") == ["60"] * len(LANES)
            assert await samples(made, "ALERTS") == [], "no rule was loaded at the cold start"
            await self.rules_are_loaded_when_the_stack_is_warm(made)
            await self.refusing_reaches_one_lane(made)
            began = time.monotonic()
            await made.stack.down()
            assert time.monotonic() - began < 2
        versions = {one.report.name: one.report.version for one in made.told(ComponentReady)}
        assert versions["prometheus"] == artifacts["prometheus"].version
        assert not guardian.carriers(made.guard.run)

    async def rules_are_loaded_when_the_stack_is_warm(self, made: Standing) -> None:
        """A reload with rules makes them fire; a broken one is told in Prometheus's own words.

        When it returns, Prometheus has an Alertmanager again, scrapes as it was told to, and lost sight of no target.
        """
        hot = configuration(made.layout, rules="all.rules.yml", interval="2s") | {"all.rules.yml": RULES}
        await made.stack.reload_prometheus(hot)
        loaded = time.monotonic()
        assert read_alertmanagers(await answered(made, "alertmanagers")) == 1
        targets = read_targets(await answered(made, "targets"))
        assert {target.interval for target in targets} == {"2s"}
        while time.monotonic() < loaded + 3:  # a stale marker of the old target would come within 1.05 s
            assert await samples(made, "up==1") == ["1"] * len(targets)
            await asyncio.sleep(0.05)
        async with asyncio.timeout(10):
            while not await samples(made, "ALERTS"):  # noqa: ASYNC110 - Prometheus tells when it is asked
                await asyncio.sleep(0.05)
        with pytest.raises(StackError, match="did not load") as caught:
            await made.stack.reload_prometheus({"prometheus.yml": "global: {scrape_interval: 0.25s}\n"})
        assert "0.25s" in (caught.value.seen or "")

    async def refusing_reaches_one_lane(self, made: Standing) -> None:
        """The lane's database is refused to everybody in its path, is well behind it, and comes back."""
        control, other = made.stack.lane("a"), made.stack.lane("b")
        assert await tables(control) == 0
        await control.refuse("mysql")
        with pytest.raises(aiomysql.OperationalError, match="Can't connect"):
            await tables(control)
        assert await tables(other) == 0
        await control.restore("mysql")
        await control.restore("mysql")
        assert await tables(control) == 0

    async def test_a_killed_database_comes_back_with_its_data(
        self, tmp_path: Path, artifacts: Mapping[str, Artifact], cache: Path
    ) -> None:
        """After kill -9 and restart the lane's database has what was committed, and its users can log in."""
        async with standing(tmp_path, INFRASTRUCTURE[3], artifacts=artifacts, cache=cache) as made:
            await made.stack.up({})
            control = made.stack.lane("a")
            await run(control, "CREATE TABLE t (x INT)")
            await control.hold_down("mysql")
            await control.let_up("mysql")
            await until(lambda: made.told(ComponentRestarted), 20)
            assert await tables(control) == 1

    async def test_a_broken_configuration_is_told_by_the_component(
        self, tmp_path: Path, artifacts: Mapping[str, Artifact], cache: Path
    ) -> None:
        """Prometheus that refuses its configuration ends the start with its own last words."""
        with pytest.raises(ComponentDied, match="prometheus ended with code") as caught:
            async with standing(tmp_path, INFRASTRUCTURE[0], artifacts=artifacts, cache=cache) as made:
                await made.stack.up({"prometheus.yml": "scrape_config: []\n"})
        assert "scrape_config" in "\n".join(caught.value.output)

    async def test_a_component_that_was_not_brought_is_named(self, tmp_path: Path) -> None:
        """Without its artifact a component is not started, and the message says how to get it."""
        with pytest.raises(StackError, match="program prometheus of prometheus was not provisioned"):
            async with standing(tmp_path, INFRASTRUCTURE[0]) as made:
                await made.stack.up({})


async def run(control: LaneControl, statement: str) -> tuple[tuple[object, ...], ...]:
    """Runs a statement as the subject would, through the relay."""
    address, secrets = control.lane.addresses["mysql"], control.secrets
    connection = await aiomysql.connect(
        host=address.host,
        port=address.port,
        user=secrets["mysql_user"],
        password=secrets["mysql_password"],
        db=secrets["mysql_database"],
        autocommit=True,
        connect_timeout=5,
    )
    try:
        async with connection.cursor() as cursor:
            await cursor.execute(statement)
            return tuple(await cursor.fetchall())
    finally:
        connection.close()


async def tables(control: LaneControl) -> int:
    """How many tables the lane's database has."""
    return len(await run(control, "SHOW TABLES"))
