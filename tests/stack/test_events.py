"""The subject's events: what a request gives rise to, and that none is lost that was announced."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from event_doubles import DEADLINE_SECONDS, SCHEMAS, a_collector, a_store, named
from stack_doubles import component, policies, until

from harness.errors import UsageError
from harness.model.records import Announced, announced_from, digest_of
from harness.model.stack import Artifact
from harness.stack.clickhouse.asking import ask
from harness.stack.collector.schemas import Event, Schemas
from harness.stack.guard import Guard
from harness.stack.layout import lay_out
from harness.stack.probe import Answer
from harness.stack.probe import ask as get
from harness.stack.runtimes.process import ProcessRuntime
from harness.stack.stack import Stack
from harness.stack.subject.events import BATCH, IN_FLIGHT, MOST_WAITING, EventSender
from harness.stack.subject.happenings import KINDS, Seen, happenings
from harness.stack.subject.logs import Record
from harness.stack.subject.settings import Announcing, Settings

POLICIES = Path(__file__).parents[2] / "policies"
NOON = 1_795_435_200.0
PERFORMANCE = ("performance", "request", None)
PERFORMANCE_OF_7 = ("performance", "request", "7")


def seen(action: str, status: int, answer: bytes = b"", user: int | None = None, agent: str | None = "test") -> Seen:
    """A request that was answered."""
    record = Record("posts", action, status, 0.0125, "192.0.2.7", agent, user, "s-1", "r-1")
    return Seen(record, "POST", "/api/posts", answer, NOON)


class TestHappenings:
    """Which events there are."""

    @pytest.mark.parametrize(
        ("request_", "expected"),
        [
            (seen("register", 201, b'{"id":7}'), [("user", "register", "7"), PERFORMANCE]),
            (seen("login", 200, b'{"id":7}'), [("user", "login", "7"), PERFORMANCE]),
            (seen("login", 401), [("security", "login_failed", None), PERFORMANCE]),
            (seen("logout", 204, user=7), [("user", "logout", "7"), PERFORMANCE_OF_7]),
            (seen("read_post", 200), [("user", "view", None), PERFORMANCE]),
            (seen("read_post", 404), [PERFORMANCE]),
            (seen("create_post", 201, b'{"id":3}', 7), [("business", "post_created", "7"), PERFORMANCE_OF_7]),
            (seen("create_comment", 401), [("security", "access_denied", None), PERFORMANCE]),
            (seen("upload_preview", 201, b"{}", 7), [("business", "preview_uploaded", "7"), PERFORMANCE_OF_7]),
            (seen("create_post", 500, b"no JSON", 7), [PERFORMANCE_OF_7]),
            (seen("unmatched", 404), [PERFORMANCE]),
        ],
    )  # fmt: skip
    def test_one_to_three_of_a_request(self, request_: Seen, expected: list[tuple[str, str, str | None]]) -> None:
        """By what was asked and what became of it; every one of them is what its schema wants."""
        schemas = Schemas(SCHEMAS)
        found = happenings(request_, "lane-01")
        assert [(one.kind, one.record["action"], one.record["userId"]) for one in found] == expected
        for one in found:
            metadata = one.record["metadata"]
            assert isinstance(metadata, dict)
            checked = schemas.check({**one.record, "metadata": {**metadata, "sequence": "run/e/1"}})
            assert isinstance(checked, Event), checked

    def test_a_header_of_any_bytes_is_text(self) -> None:
        """What is no UTF-8 would be no JSON; what is too long is cut."""
        [*_, odd] = happenings(seen("login", 401, agent="\udcff" * 3), "lane-01")
        [*_, long] = happenings(seen("login", 401, agent="x" * 1000), "lane-01")
        assert odd.record["userAgent"] == "???"
        assert len(str(long.record["userAgent"])) == 257


@dataclass
class Ear:
    """Where a collector should be: takes what is posted once it is `well`."""

    mood: int = 200
    bodies: list[list[dict[str, Any]]] = field(default_factory=list)
    url: str = ""

    async def take(self, request: web.Request) -> web.Response:
        """A batch."""
        self.bodies.append([json.loads(line) for line in (await request.read()).splitlines()])
        return web.json_response({"accepted": 0, "rejected": 0}, status=self.mood)


@asynccontextmanager
async def an_ear(mood: int = 200) -> AsyncIterator[Ear]:
    """One that listens."""
    ear = Ear(mood)
    app = web.Application()
    app.router.add_post("/events", ear.take)
    runner = web.AppRunner(app, shutdown_timeout=0.01)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        ear.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield ear
    finally:
        await runner.cleanup()


@dataclass
class Sending:
    """A sender at work."""

    sender: EventSender
    lost: list[int]
    manifests: Path

    def announced(self) -> list[Announced]:
        """Every line of every manifest."""
        return list(lines(self.manifests))


def lines(manifests: Path) -> Iterator[Announced]:
    """Every line of every manifest."""
    for path in sorted(manifests.glob("*.tsv")):
        yield from (one for line in path.open("rb") if (one := announced_from(line)) is not None)


@asynccontextmanager
async def sending(folder: Path, url: str, *, announcing: bool = True) -> AsyncIterator[Sending]:
    """A sender that runs, until the end of the block."""
    lost: list[int] = []
    manifests = folder / "manifests"
    to = Announcing(manifests, "run", "lane-01") if announcing else None
    sender = EventSender(url, folder / "logs", environment="lane-01", instance="cp-1", lost=lost.append, announcing=to)
    with sender:
        task = asyncio.create_task(sender.run())
        try:
            yield Sending(sender, lost, manifests)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


class TestSender:
    """On their way to the collector."""

    async def test_everything_posted_was_announced_with_its_digest(self, tmp_path: Path) -> None:
        """Once each, by its own kind's manifest; nothing is left in flight, nothing is lost."""
        async with an_ear() as ear, sending(tmp_path, ear.url) as made:
            for _ in range(30):
                made.sender.request(seen("login", 200, b'{"id":7}'))
            await until(lambda: sum(map(len, ear.bodies)) == 60, DEADLINE_SECONDS)
            await until(lambda: not (tmp_path / "logs" / IN_FLIGHT).exists(), DEADLINE_SECONDS)
            posted = {one["metadata"]["sequence"]: one for body in ear.bodies for one in body}
            announced = {one.identity: one for one in made.announced()}
        assert posted.keys() == announced.keys()
        assert len(posted) == 60
        for name, one in announced.items():
            assert (one.source, one.lane) == (posted[name]["kind"], "lane-01")
            assert one.digest == digest_of(posted[name], posted[name].keys())
        assert sum(made.lost) == 0
        assert len(list(made.manifests.glob("*.tsv"))) == len(KINDS)

    async def test_what_is_refused_is_posted_again_under_the_same_identities(self, tmp_path: Path) -> None:
        """As often as it takes, and announced once."""
        async with an_ear(429) as ear, sending(tmp_path, ear.url) as made:
            made.sender.request(seen("login", 401))
            await until(lambda: len(ear.bodies) >= 3, DEADLINE_SECONDS)
            ear.mood = 200
            await until(lambda: not (tmp_path / "logs" / IN_FLIGHT).exists(), DEADLINE_SECONDS)
            assert all(body == ear.bodies[0] for body in ear.bodies)
            assert [one.identity for one in made.announced()] == sorted(named(ear.bodies[0]))
        assert sum(made.lost) == 0

    async def test_a_full_queue_slows_nobody(self, tmp_path: Path) -> None:
        """What finds no room is counted and was never announced."""
        async with an_ear(503) as ear, sending(tmp_path, ear.url) as made:
            for _ in range(MOST_WAITING):
                made.sender.request(seen("login", 401))
            assert sum(made.lost) == MOST_WAITING
            await until(lambda: ear.bodies, DEADLINE_SECONDS)
            assert len(made.announced()) == BATCH == len(ear.bodies[0])

    async def test_the_next_life_posts_what_the_last_one_had_announced(self, tmp_path: Path) -> None:
        """After a death in the middle of a post; what had not been announced was never posted and stays so."""
        async with an_ear(503) as ear:
            async with sending(tmp_path, ear.url) as made:
                made.sender.request(seen("login", 401))
                await until(lambda: ear.bodies, DEADLINE_SECONDS)
            left = (tmp_path / "logs" / IN_FLIGHT).read_bytes()
            first, second = (json.loads(line) for line in left.splitlines())
            stranger = {**first, "metadata": {**first["metadata"], "sequence": "run/security.lane-01.1/99"}}
            (tmp_path / "logs" / IN_FLIGHT).write_bytes(left + json.dumps(stranger).encode() + b"\n")
            ear.bodies.clear()
            ear.mood = 200
            async with sending(tmp_path, ear.url):
                await until(lambda: not (tmp_path / "logs" / IN_FLIGHT).exists(), DEADLINE_SECONDS)
        assert ear.bodies == [[first, second]]

    async def test_what_was_not_acknowledged_is_withdrawn_at_the_end(self, tmp_path: Path) -> None:
        """It is counted, and nobody will miss it; what was acknowledged is not withdrawn."""
        async with an_ear() as ear, sending(tmp_path, ear.url) as made:
            made.sender.request(seen("login", 401))
            await until(lambda: ear.bodies and not (tmp_path / "logs" / IN_FLIGHT).exists(), DEADLINE_SECONDS)
            ear.mood = 503
            made.sender.request(seen("login", 401))
            await until(lambda: len(ear.bodies) > 1, DEADLINE_SECONDS)
            arrived, open_ = ear.bodies[0], ear.bodies[1]
        withdrawn = [one.identity for one in lines(made.manifests) if one.is_withdrawal]
        assert sorted(withdrawn) == sorted(named(open_))
        assert not set(named(arrived)) & set(withdrawn)
        assert sum(made.lost) == len(open_) == 2

    async def test_without_a_run_events_have_identities_all_the_same(self, tmp_path: Path) -> None:
        """Of the instance's own, so that posting twice is harmless."""
        async with an_ear() as ear, sending(tmp_path, ear.url, announcing=False) as made:
            made.sender.request(seen("login", 401))
            await until(lambda: ear.bodies, DEADLINE_SECONDS)
        names = named(ear.bodies[0])
        assert len(set(names)) == 2
        assert all(name.startswith("cp-1/") for name in names)
        assert not made.manifests.exists()

    async def test_through_a_real_collector(self, tmp_path: Path) -> None:
        """Every announced event is stored once."""
        async with (
            a_store() as store,
            a_collector(tmp_path / "store", store.url) as collector,
            sending(tmp_path, f"http://127.0.0.1:{collector.port}") as made,
        ):
            for _ in range(50):
                made.sender.request(seen("create_post", 201, b'{"id":3}', 7))
            await until(lambda: len(store.names()) >= 100, DEADLINE_SECONDS)
            announced = [one.identity for one in made.announced()]
        assert sorted(store.names()) == sorted(announced)


def test_a_url_that_is_none() -> None:
    """A sentence."""
    environment = {
        "LISTEN": "127.0.0.1:5000", "DATABASE_URL": "mysql://a:b@127.0.0.1/c", "REDIS_URL": "redis://127.0.0.1/0",
        "LOG_DIR": "logs", "ENVIRONMENT": "lane-01", "INSTANCE_ID": "cp-1",
    }  # fmt: skip
    with pytest.raises(UsageError, match="EVENT_COLLECTOR_URL"):
        Settings.from_environment({**environment, "EVENT_COLLECTOR_URL": "collector:8088"})
    assert Settings.from_environment(environment).collector is None


@pytest.fixture(scope="module")
def chdb(cache: Path, pytestconfig: pytest.Config) -> Artifact:
    """The engine, real; where it cannot be had the tests fail."""
    import sys

    from harness.stack.provision.fetch import bring

    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        return bring(("chdb",), cache, lambda text: print(text, file=sys.stderr))["chdb"]  # noqa: T201


def copies(*folders: str) -> dict[str, str]:
    """Files of the shipped policies, as their copy has them."""
    return {
        f"{folder}/{path.name}": path.read_text(encoding="utf-8")
        for folder in folders
        for path in (POLICIES / folder).iterdir()
    }


def identities(found: Answer | str) -> Sequence[str]:
    """The lines of an answer."""
    assert isinstance(found, Answer)
    assert found.status == 200, found.body
    return found.body.split()


@pytest.mark.stack
async def test_from_a_request_to_its_row(chdb: Artifact, tmp_path: Path) -> None:
    """The stack of subject, collector and ClickHouse: every event that was announced has its row, and only one."""
    unit = "/opt/tocsin/bin/python -m harness.stack.collector --clickhouse.database=community_platform"
    shared = (
        component("event-collector", "event-collector", unit, per_lane=False, port=8088),
        component("clickhouse", "clickhouse", "/usr/bin/clickhouse-server --config-file=/etc/c.xml", per_lane=False),
    )
    app = component("community-platform", "subject", "/srv/app", command=())
    made = policies(*shared, app, root=tmp_path / "policies")
    async with Guard.open(f"test-{time.monotonic_ns()}", tmp_path) as guard:
        layout = lay_out(
            made, {"chdb": chdb}, ("a",), run=guard.run, sandbox=guard.sandbox, logs=tmp_path / "logs",
            cache=tmp_path, manifests=tmp_path / "manifests",
            environment={"subject": {"DATABASE_URL": "mysql://a:b@127.0.0.1:9/c", "REDIS_URL": "redis://127.0.0.1:9/0"}},
        )  # fmt: skip
        async with Stack(layout, ProcessRuntime(guard), lambda _event: None) as stack:
            await stack.up(copies("events", "clickhouse"))
            site = layout.site("community-platform", "a")
            for number in range(20):
                answer = await get(site.address, f"/api/nothing/{number}")
                assert isinstance(answer, Answer)
                assert answer.status == 404
            for _ in range(5):
                await get(site.address, "/api/posts", method="POST")
            at = layout.site("clickhouse").address
            query = "SELECT sequence FROM merge('community_platform', '_events$')"
            async with asyncio.timeout(DEADLINE_SECONDS):
                while len(rows := identities(await ask(at, query))) < 30:  # noqa: ASYNC110  # what is watched is another process
                    await asyncio.sleep(0.05)
    announced = [one.identity for one in lines(tmp_path / "manifests") if one.source in KINDS]
    assert len(announced) == 30
    assert sorted(rows) == sorted(announced)
