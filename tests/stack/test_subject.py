"""The subject in process, over stores in memory: what it answers, counts and logs."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web import Application, Request
from prometheus_client.parser import text_string_to_metric_families

from harness.errors import UsageError
from harness.model.records import Announced, announced_from, digest_of
from harness.stack.subject import passwords
from harness.stack.subject.app import METRICS_PATH, Parts, build
from harness.stack.subject.domain import QueryFailed, Session, StorageError, Unavailable
from harness.stack.subject.handlers import ROUTES
from harness.stack.subject.logs import Journal, Record
from harness.stack.subject.memory import MemoryPostCache, MemorySessions, MemoryStore
from harness.stack.subject.metrics import Metrics
from harness.stack.subject.mysql import Statement
from harness.stack.subject.previews import KEPT_SECONDS, LARGEST_BYTES, Previews
from harness.stack.subject.sessions import session_id
from harness.stack.subject.settings import Announcing, Settings

SCHEMAS = Path(__file__).parents[2] / "policies" / "logs"

ACCOUNT = {"name": "bob", "password": "correct horse"}
LIMIT = 192 * 1024 * 1024
IMAGE = {"Content-Type": "image/bmp"}
REFUSED = Unavailable("Can't connect", code="2003", query="SELECT 1", parameters=("7",), seconds=0.25)
BROKEN = QueryFailed("Table 'app.posts' doesn't exist", code="1146", query="SELECT * FROM posts", seconds=0.001)
ENVIRONMENT = {
    "LISTEN": "127.0.0.1:5000",
    "DATABASE_URL": "mysql://app:s%3Acret@127.0.0.1:3306/community",
    "REDIS_URL": "redis://127.0.0.1:6379/0",
    "LOG_DIR": "logs",
    "ENVIRONMENT": "lane-01",
    "INSTANCE_ID": "cp-1",
}

Client = TestClient[Request, Application]


@dataclass
class Platform:
    """One instance with its parts at hand."""

    directory: Path
    clock: list[float] = field(default_factory=lambda: [1000.0])
    store: MemoryStore = field(default_factory=MemoryStore)
    sessions: MemorySessions = field(default_factory=MemorySessions)
    cache: MemoryPostCache = field(default_factory=MemoryPostCache)
    metrics: Metrics = field(
        default_factory=lambda: Metrics(environment="lane-01", instance="cp-1", heap_limit_bytes=LIMIT)
    )
    previews: Previews = field(init=False)
    client: Client = field(init=False)

    def __post_init__(self) -> None:
        self.previews = Previews(lambda: self.clock[0])

    async def log_in(self) -> None:
        """Registers and logs in; the client keeps the cookie."""
        assert (await self.client.post("/api/auth/register", json=ACCOUNT)).status == 201
        assert (await self.client.post("/api/auth/login", json=ACCOUNT)).status == 200

    async def value(self, name: str, **labels: str) -> float | None:
        """A sample as Prometheus would scrape it; None where there is no such series."""
        text = await (await self.client.get(METRICS_PATH)).text()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    return sample.value
        return None

    async def series(self) -> set[tuple[str, str]]:
        """Every series that counts requests, as endpoint and method."""
        text = await (await self.client.get(METRICS_PATH)).text()
        return {
            (sample.labels["endpoint"], sample.labels["method"])
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == "http_requests_total"
        }

    def log(self, name: str) -> list[dict[str, object]]:
        """The records of a log."""
        return [json.loads(line) for line in (self.directory / name).read_text().splitlines()]


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Platform]:
    """An instance that serves."""
    platform = Platform(tmp_path / "logs")
    metrics = platform.metrics
    with Journal(platform.directory, metrics.log_line_lost, written=metrics.log_record_written) as journal:
        parts = Parts(
            platform.store, platform.sessions, platform.cache, platform.metrics, journal, "lane-01", "cp-1",
            platform.previews,
        )  # fmt: skip
        async with TestClient(TestServer(build(parts))) as client:
            platform.client = client
            yield platform


async def _json(response: ClientResponse) -> Mapping[str, object]:
    body = await response.json()
    assert isinstance(body, dict)
    return body


async def test_a_member_posts_comments_and_leaves(platform: Platform) -> None:
    """Register, log in, preview, post, read, comment, log out: each answers as agreed, and each is counted once."""
    await platform.log_in()
    assert (await platform.client.post("/api/previews", data=b"BM", headers=IMAGE)).status == 201
    created = await platform.client.post("/api/posts", json={"title": "A question", "body": "How?"})
    post = await _json(created)
    assert (created.status, post["author"], post["title"]) == (201, "bob", "A question")
    assert await _json(await platform.client.get(f"/api/posts/{post['id']}")) == post
    answered = await platform.client.post(f"/api/posts/{post['id']}/comments", json={"body": "So."})
    comments = await _json(await platform.client.get(f"/api/posts/{post['id']}/comments"))
    assert (answered.status, comments) == (201, {"comments": [await _json(answered)]})
    listed = await _json(await platform.client.get("/api/posts"))
    assert isinstance(listed["posts"], list)
    assert listed["posts"][0] == post
    assert (await platform.client.post("/api/auth/logout")).status == 204
    assert (await platform.client.post("/api/posts", json={"title": "t", "body": "b"})).status == 401
    for route in ROUTES:
        assert await platform.value("user_activity_total", action=route.action) == 1, route.action
    assert await platform.value("posts_created_total") == 1
    assert await platform.value("comments_created_total") == 1


async def test_a_wrong_name_and_a_wrong_password_look_the_same(platform: Platform) -> None:
    """Both are 401 with the same answer, and both are counted; the right one is not."""
    await platform.client.post("/api/auth/register", json=ACCOUNT)
    wrong = await platform.client.post("/api/auth/login", json={**ACCOUNT, "password": "incorrect"})
    unknown = await platform.client.post("/api/auth/login", json={**ACCOUNT, "name": "nobody"})
    assert (wrong.status, await wrong.text()) == (unknown.status, await unknown.text())
    assert wrong.status == 401
    assert await platform.value("login_failures_total") == 2
    assert (await platform.client.post("/api/auth/login", json=ACCOUNT)).status == 200
    assert await platform.value("login_failures_total") == 2


async def test_a_name_is_given_once(platform: Platform) -> None:
    """The second who wants a name gets 409."""
    assert (await platform.client.post("/api/auth/register", json=ACCOUNT)).status == 201
    assert (await platform.client.post("/api/auth/register", json=ACCOUNT)).status == 409


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "[1]",
        "\xff",
        '{"name": "bob"}',
        '{"name": 7, "password": "correct horse"}',
        '{"name": "b b", "password": "correct horse"}',
        '{"name": "bob", "password": "short"}',
        '{"name": "bob", "password": "\\ud800 is half a character"}',
        json.dumps({"name": "bob", "password": "x" * 129}),
    ],
)
async def test_what_is_no_account_is_refused(platform: Platform, body: str) -> None:
    """A body that is not what it should be is a 400 with a reason, never a 500."""
    answer = await platform.client.post("/api/auth/register", data=body.encode("latin-1"))
    assert answer.status == 400
    assert (await _json(answer))["error"]


@pytest.mark.parametrize("path", ["/api/posts/99", "/api/posts/x", "/api/posts/-1", "/api/posts/" + "9" * 40])
async def test_a_post_that_does_not_exist_is_404(platform: Platform, path: str) -> None:
    """Also when its number is none, or none that a database could hold."""
    await platform.log_in()
    assert (await platform.client.get(path)).status == 404
    assert (await platform.client.post(f"{path}/comments", json={"body": "b"})).status == 404


async def test_raw_paths_make_no_series(platform: Platform) -> None:
    """The endpoint label is the route's template: a hundred paths and a rare method add nothing unbounded."""
    for number in range(50):
        await platform.client.get(f"/api/posts/{number}")
        await platform.client.get(f"/wp-admin/{number}")
    await platform.client.request("PROPFIND", "/files")
    routes = {(route.path, route.method) for route in ROUTES}
    assert await platform.series() == routes | {("unmatched", "GET"), ("unmatched", "OTHER")}
    assert await platform.value("http_requests_total", endpoint="unmatched", method="GET", status="404") == 50


async def test_error_series_exist_before_the_first_error(platform: Platform) -> None:
    """Each route starts with 500 and 503 at 0, so that the first error has a rate."""
    for route in ROUTES:
        for status in (route.success, 500, 503):
            labels = {"endpoint": route.path, "method": route.method, "status": str(status)}
            assert await platform.value("http_requests_total", **labels) == 0, labels


async def test_probes_are_not_requests(platform: Platform) -> None:
    """Health, readiness and scrapes are neither counted nor logged; an ordinary request is both."""
    before = await platform.series()
    for path in ("/health", "/ready", METRICS_PATH):
        assert (await platform.client.get(path)).status == 200
    assert await platform.series() == before
    assert platform.log("application.log") == []
    await platform.client.get("/api/posts")
    assert len(platform.log("application.log")) == 1


@pytest.mark.parametrize(("failure", "status"), [(REFUSED, 503), (BROKEN, 500)])
async def test_a_failing_database_is_felt_told_and_counted(
    platform: Platform, failure: StorageError, status: int
) -> None:
    """Unreachable is 503, a broken statement 500; metrics and both logs say so; liveness does not change."""
    platform.store.failure = failure
    assert (await platform.client.get("/api/posts")).status == status
    assert await platform.value("http_requests_total", endpoint="/api/posts", method="GET", status=str(status)) == 1
    assert await platform.value("user_activity_total", action="list_posts") == 0
    [record] = platform.log("error.log")
    error = record.pop("error")
    assert isinstance(error, dict)
    assert "list_posts" in error.pop("stack")
    assert error == {"name": type(failure).__name__, "message": str(failure), "code": failure.code}
    assert record.pop("context") == {
        "query": failure.query,
        "parameters": list(failure.parameters),
        "duration": failure.seconds * 1000,
    }
    assert record.pop("timestamp")
    assert record == {"level": "ERROR", "service": "community-platform", "component": "posts"}
    assert platform.log("application.log")[0]["level"] == "ERROR"
    assert (await platform.client.get("/health")).status == 200
    ready = await platform.client.get("/ready")
    assert (ready.status, await _json(ready)) == (503, {"database": f"down ({failure.code})", "cache": "up"})


async def test_the_unforeseen_is_a_500_with_its_stack(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug is answered 500 without its text, and its stack is in the error log."""

    async def bug(limit: int) -> list[object]:
        raise ZeroDivisionError("internal detail")

    monkeypatch.setattr(platform.store, "list_posts", bug)
    answer = await platform.client.get("/api/posts")
    assert (answer.status, "internal detail" in await answer.text()) == (500, False)
    [record] = platform.log("error.log")
    assert isinstance(record["error"], dict)
    assert (record["error"]["name"], record["error"]["message"]) == ("ZeroDivisionError", "internal detail")
    assert "in bug" in record["error"]["stack"]


async def test_the_list_is_never_cached_and_a_post_is(platform: Platform) -> None:
    """A second look at a post asks the cache; the list fails at once when the database does."""
    assert (await platform.client.get("/api/posts/1")).status == 200
    assert (await platform.client.get("/api/posts/1")).status == 200
    assert platform.store.reads == 1
    assert await platform.value("cache_hits_total", cache="posts") == 1
    assert await platform.value("cache_misses_total", cache="posts") == 1
    assert (await platform.client.get("/api/posts")).status == 200
    platform.store.failure = REFUSED
    assert (await platform.client.get("/api/posts/1")).status == 200
    assert (await platform.client.get("/api/posts")).status == 503


async def test_without_redis_reading_works_and_writing_does_not(platform: Platform) -> None:
    """Readers do not pay for lost sessions; who needs a session gets 503, not 401 (they are logged in)."""
    await platform.log_in()
    platform.sessions.failure = platform.cache.failure = Unavailable("Redis: refused", code="ConnectionError")
    assert (await platform.client.get("/api/posts")).status == 200
    assert (await platform.client.get("/api/posts/1")).status == 200
    assert (await platform.client.post("/api/posts", json={"title": "t", "body": "b"})).status == 503
    platform.sessions.failure = platform.cache.failure = None
    assert (await platform.client.post("/api/posts", json={"title": "t", "body": "b"})).status == 201


async def test_a_log_record_has_the_plans_fields(platform: Platform) -> None:
    """Field by field, with the request's own id where it brings one that is harmless."""
    await platform.log_in()
    headers = {"X-Request-ID": "run-7/1/42", "User-Agent": "test/1"}
    answer = await platform.client.get("/api/posts/1", headers=headers)
    assert answer.headers["X-Request-ID"] == "run-7/1/42"
    record = platform.log("application.log")[-1]
    duration = record.pop("duration")
    assert isinstance(duration, float)
    assert 0 < duration < 5000
    assert str(record.pop("timestamp")).endswith("Z")
    assert record == {
        "level": "INFO",
        "service": "community-platform",
        "component": "posts",
        "userId": "10",
        "action": "read_post",
        "status": 200,
        "ip": "127.0.0.1",
        "userAgent": "test/1",
        "metadata": {"sessionId": "session-1", "requestId": "run-7/1/42"},
    }
    odd = await platform.client.get("/api/posts/1", headers={"X-Request-ID": 'a" b'})
    assert odd.headers["X-Request-ID"].startswith("cp-1/")


async def test_no_secret_reaches_a_log(platform: Platform) -> None:
    """After a whole visit, failures included, neither the password, its hash nor the token is in any log."""
    await platform.log_in()
    await platform.client.post("/api/auth/login", json={**ACCOUNT, "password": "wrong but secret"})
    platform.store.failure = REFUSED
    await platform.client.post("/api/auth/login", json=ACCOUNT)
    logs = "".join(file.read_text() for file in platform.directory.iterdir())
    assert "login" in logs
    [token] = platform.sessions.open_sessions
    for secret in (ACCOUNT["password"], "wrong but secret", token, platform.store.users["bob"].password_hash):
        assert secret not in logs


def test_a_statement_hides_its_secret_parameters() -> None:
    """In the parameters as in a message of the server that quotes them; the others are shown."""
    statement = Statement("add_user", "INSERT …", frozenset({1}))
    parameters = ("bob", "scrypt$aa$bb")
    assert statement.shown(parameters) == ("bob", "***")
    assert statement.redacted("near 'scrypt$aa$bb' of bob", parameters) == "near '***' of bob"


def test_a_session_is_named_by_a_digest() -> None:
    """What logs show of a token does not open the session."""
    assert session_id("secret") != session_id("Secret")
    assert "secret" not in session_id("secret")


async def test_a_full_disk_loses_lines_and_no_request(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], platform: Platform
) -> None:
    """A line that cannot be written is counted, told once, and nothing else happens."""
    (tmp_path / "error.log").symlink_to("/dev/full")
    lost, written = [], list[str]()
    with Journal(tmp_path, lambda: lost.append(1), written=written.append) as journal:
        journal.error("posts", BROKEN, 0.1)
        journal.error("posts", BROKEN, 0.1)
    assert (len(lost), written) == (2, [])
    assert capsys.readouterr().err.count("could not be written") == 1


@dataclass
class Followed:
    """A journal whose records are announced, and what has been announced."""

    root: Path
    lost: list[int] = field(default_factory=list)

    def open(self) -> Journal:
        """Another life of the writer."""
        return Journal(self.root / "logs", lambda: self.lost.append(1), Announcing(self.root / "m", "run", "lane-01"))

    def announced(self, source: str, life: int = 1) -> list[Announced]:
        """What a life's manifest says."""
        lines = (self.root / "m" / f"{source}.lane-01.{life}.tsv").read_bytes().splitlines(keepends=True)
        return [found for found in map(announced_from, lines) if found is not None]

    def written(self, source: str) -> list[dict[str, Any]]:
        """The records of a log."""
        return [json.loads(line) for line in (self.root / "logs" / f"{source}.log").read_text().splitlines()]


def _request(**change: Any) -> Record:
    told = Record(
        component="posts", action="read_post", status=200, duration_seconds=0.012, ip="127.0.0.1", user_agent="test",
        user_id=7, session_id=None, request_id="cp-1/1/1",
    )  # fmt: skip
    return replace(told, **change)


def test_every_record_is_announced_whole_and_valid(tmp_path: Path) -> None:
    """Both logs, odd characters too: its identity, its level, its digest as a reader computes it; each life its own."""
    followed = Followed(tmp_path)
    for _ in range(2):
        with followed.open() as journal:
            journal.request(_request(status=500, duration_seconds=1 / 3))
            journal.request(_request(user_agent="half \ud83d, \udcff, 한국어 😀" + "x" * 300))
            journal.error("posts", replace_parameters(BROKEN, "\ud800"), 0.1)
    for source, count in (("application", 2), ("error", 1)):
        document = json.loads((SCHEMAS / f"{source}.schema.json").read_text())
        judge = jsonschema_rs.validator_for(document, validate_formats=True)
        records = followed.written(source)
        announced = [*followed.announced(source, 1), *followed.announced(source, 2)]
        assert [one.identity for one in announced] == [
            f"run/{source}.lane-01.{life}/{number}" for life in (1, 2) for number in range(1, count + 1)
        ]
        for record, one in zip(records, announced, strict=True):
            judge.validate(record)
            assert record["metadata"]["sequence"] == one.identity
            assert (one.source, one.lane, one.level) == (source, "lane-01", record["level"])
            assert one.digest == digest_of(record, document["properties"])
    assert followed.lost == []


def test_a_record_that_is_changed_afterwards_has_another_digest(tmp_path: Path) -> None:
    """The twin: what was announced does not fit a record that somebody damaged."""
    followed = Followed(tmp_path)
    with followed.open() as journal:
        journal.request(_request())
    [record], [one] = followed.written("application"), followed.announced("application")
    assert digest_of({**record, "duration": 12.001}, record) != one.digest


def test_what_cannot_be_announced_is_not_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A full disk under the manifests: counted, told once, and the log has nothing that nobody announced."""
    (tmp_path / "m").mkdir()
    followed = Followed(tmp_path)
    with followed.open() as journal:
        manifest = tmp_path / "m" / "application.lane-01.1.tsv"
        full, number = os.open("/dev/full", os.O_WRONLY), _descriptor_of(manifest)
        os.dup2(full, number)
        os.close(full)
        journal.request(_request())
        journal.request(_request())
        journal.error("posts", BROKEN, 0.1)
    assert (len(followed.lost), followed.written("application"), len(followed.written("error"))) == (2, [], 1)
    assert capsys.readouterr().err.count("could not be written") == 1


def _descriptor_of(path: Path) -> int:
    return next(int(link.name) for link in Path("/proc/self/fd").iterdir() if link.exists() and link.samefile(path))


def replace_parameters(error: StorageError, *parameters: str) -> StorageError:
    """The same failure of a statement with other parameters."""
    return type(error)(str(error), code=error.code, query=error.query, parameters=parameters, seconds=error.seconds)


def test_without_a_folder_of_manifests_records_have_no_identity(tmp_path: Path) -> None:
    """As before: nothing is announced, nothing is added."""
    with Journal(tmp_path, lambda: None) as journal:
        journal.request(_request())
    [record] = [json.loads(line) for line in (tmp_path / "application.log").read_text().splitlines()]
    assert record["metadata"] == {"sessionId": None, "requestId": "cp-1/1/1"}
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".tsv"] == []


async def test_what_is_written_into_the_logs_is_counted(platform: Platform) -> None:
    """As many as there are lines, each log apart, from 0 on; who ships them can be held to that."""
    for log in ("application", "error"):
        assert await platform.value("log_records_written_total", log=log) == 0
    await platform.log_in()
    written = len(platform.log("application.log"))
    assert written > 0
    assert await platform.value("log_records_written_total", log="application") == written
    assert await platform.value("log_records_written_total", log="error") == 0


async def test_memory_moves_with_what_is_held(platform: Platform) -> None:
    """`heapUsed` follows real memory, `heapTotal` is the allowance: the ratio can cross a limit."""
    before = await platform.value("nodejs_memory_usage_bytes", type="heapUsed")
    ballast = bytearray(b"x" * (48 << 20))
    after = await platform.value("nodejs_memory_usage_bytes", type="heapUsed")
    assert before is not None
    assert after is not None
    assert after - before > len(ballast) * 0.8
    assert await platform.value("nodejs_memory_usage_bytes", type="heapTotal") == LIMIT


async def test_previews_are_held_until_their_session_ends(platform: Platform) -> None:
    """Each upload is memory that the process holds; logging out gives all of it back, and another member's stays."""
    await platform.log_in()
    preview = bytes(LARGEST_BYTES)
    before = await platform.value("nodejs_memory_usage_bytes", type="heapUsed")
    for number in range(1, 31):
        answer = await platform.client.post("/api/previews", data=preview, headers=IMAGE)
        assert (answer.status, await _json(answer)) == (201, {"number": number})
    held = await platform.value("nodejs_memory_usage_bytes", type="heapUsed")
    other = Session("another", 7, "eve")
    await platform.previews.keep(other, 2, _pieces(b"BM"))
    assert (await platform.client.post("/api/auth/logout")).status == 204
    after = await platform.value("nodejs_memory_usage_bytes", type="heapUsed")
    assert before is not None
    assert held is not None
    assert after is not None
    assert held - before >= 30 * LARGEST_BYTES
    assert held - after >= 29 * LARGEST_BYTES
    assert len(platform.previews) == 1
    platform.previews.end(other)
    assert len(platform.previews) == 0


async def test_previews_are_forgotten_after_ten_minutes(platform: Platform) -> None:
    """Not a moment earlier, and each by its own age."""
    await platform.log_in()
    await platform.client.post("/api/previews", data=b"BM", headers=IMAGE)
    platform.clock[0] += 1
    await platform.client.post("/api/previews", data=b"BM", headers=IMAGE)
    left = []
    for passed in (KEPT_SECONDS - 1.5, 0.5, 1.0):
        platform.clock[0] += passed
        platform.previews.forget_old()
        left.append(len(platform.previews))
    assert left == [2, 1, 0]


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"", IMAGE, 400),
        (bytes(LARGEST_BYTES + 1), IMAGE, 413),
        (b"GIF", {"Content-Type": "text/html"}, 415),
        (b"BM", IMAGE, 201),
    ],
    ids=["empty", "too large", "no image", "the twin"],
)
async def test_what_is_no_preview_is_refused(
    platform: Platform, body: bytes, headers: Mapping[str, str], status: int
) -> None:
    """With a reason, and nothing is held."""
    await platform.log_in()
    answer = await platform.client.post("/api/previews", data=body, headers=headers)
    assert (answer.status, len(platform.previews)) == (status, int(status == 201))


async def test_a_preview_needs_a_session_and_a_length(platform: Platform) -> None:
    """Nobody's is 401; one whose length nobody knows beforehand is 411."""
    assert (await platform.client.post("/api/previews", data=b"BM", headers=IMAGE)).status == 401
    await platform.log_in()
    assert (await platform.client.post("/api/previews", data=_pieces(b"BM"), headers=IMAGE)).status == 411
    assert len(platform.previews) == 0


async def test_a_preview_that_breaks_off_is_not_held(platform: Platform) -> None:
    """The connection ends in the middle: nothing of it stays."""

    async def broken() -> AsyncIterator[bytes]:
        yield b"B"
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await platform.previews.keep(Session("one", 1, "ada"), 2, broken())
    assert len(platform.previews) == 0


async def _pieces(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def test_a_password_is_verified_by_its_own_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hash made at another cost still verifies; a wrong password, a locked account and nobody do not."""
    kept = await passwords.hash_password("correct horse")
    assert kept != await passwords.hash_password("correct horse")
    monkeypatch.setattr(passwords, "COST", 2**4)
    assert await passwords.verify_password("correct horse", kept)
    assert not await passwords.verify_password("correct horse ", kept)
    assert not await passwords.verify_password("correct horse", passwords.LOCKED)
    assert not await passwords.verify_password("correct horse", None)


def test_settings_are_read_from_the_environment() -> None:
    """Every variable arrives; the password is decoded and not shown."""
    settings = Settings.from_environment({**ENVIRONMENT, "HEAP_LIMIT_MIB": "64"})
    assert (settings.host, settings.port, settings.environment) == ("127.0.0.1", 5000, "lane-01")
    assert (settings.database.user, settings.database.password, settings.database.database) == (
        "app",
        "s:cret",
        "community",
    )
    assert settings.heap_limit_bytes == 64 << 20
    assert "s:cret" not in repr(settings)


def test_manifests_come_with_a_run_and_a_lane() -> None:
    """All three or none; the one that is missing is named."""
    three = {"MANIFEST_DIR": "m", "RUN_ID": "run", "LANE": "lane-01"}
    assert Settings.from_environment(ENVIRONMENT).announcing is None
    assert Settings.from_environment({**ENVIRONMENT, **three}).announcing == Announcing(Path("m"), "run", "lane-01")
    for name in ("RUN_ID", "LANE"):
        with pytest.raises(UsageError, match=f"{name} is not set"):
            Settings.from_environment({**ENVIRONMENT, **three, name: ""})


@pytest.mark.parametrize("name", sorted(ENVIRONMENT))
def test_a_missing_variable_is_named(name: str) -> None:
    """Which one, in the first line."""
    with pytest.raises(UsageError, match=f"{name} is not set"):
        Settings.from_environment({key: value for key, value in ENVIRONMENT.items() if key != name})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LISTEN", "5000"),
        ("LISTEN", "127.0.0.1:99999"),
        ("DATABASE_URL", "postgres://app:hunter2@127.0.0.1/db"),
        ("DATABASE_URL", "mysql://app:hunter2@127.0.0.1:port/db"),
        ("DATABASE_URL", "mysql://app:hunter2@127.0.0.1"),
        ("REDIS_URL", "127.0.0.1:6379"),
        ("HEAP_LIMIT_MIB", "nan"),
        ("HEAP_LIMIT_MIB", "plenty"),
    ],
)
def test_a_wrong_variable_is_named_without_its_secret(name: str, value: str) -> None:
    """The sentence names the variable and never quotes a password."""
    with pytest.raises(UsageError) as raised:
        Settings.from_environment({**ENVIRONMENT, name: value})
    assert name in str(raised.value)
    assert "hunter2" not in str(raised.value)
