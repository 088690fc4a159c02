"""An application, its database and its cache for faults of real causes: small, and told to do nothing at will."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

from aiohttp import web
from lane_doubles import UntouchedLane
from pymysql.err import OperationalError

from harness.model.stack import Address, Lane

SECRETS = {"mysql_user": "app", "mysql_password": "pass", "mysql_database": "app"}
LOCKED_ANSWER_SECONDS = 2.4
SCAN_SECONDS = 0.06
REQUESTS_A_LOOK = 4
"""What the load sends between two looks at the counters: one of them reads comments."""
QUICK_MEAN_SECONDS = 0.002
SCANNED_MEAN_SECONDS = 0.08
"""What its queries take on average where the index is missing."""
COUNTED = ("ok", "failed", "seconds", "hits", "misses", "logins")


class Database:
    """What the faults say to a MariaDB, as one server that all connections share."""

    def __init__(self) -> None:
        self.allowed = 100
        self.connections: set[Connection] = set()
        self.most: int | None = None
        self.column = "id"
        self.columns: set[str] | None = None
        self.tables = {"comments"}
        self.slow_statements = 0
        self.free = asyncio.Event()
        self.free.set()
        self.deaf = False
        self.down = False
        self.waiting: list[int] = []
        self.said: list[str] = []

    @property
    def indexed(self) -> bool:
        """Whether the comments of a post are found by their index."""
        return "comments_before_migration" not in self.tables

    async def connect(self, **how: object) -> Connection:
        """As `aiomysql.connect`."""
        assert how["password"] == "pass"
        if self.down or (self.most is not None and len(self.connections) >= self.most):
            raise OperationalError(1040, "Too many connections")
        connection = Connection(self)
        if not self.deaf:
            self.connections.add(connection)
        return connection


class Connection:
    """One of its connections, which is its own cursor."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._rows: list[tuple[object, ...]] = []
        self.description: list[tuple[str, ...]] = []
        self._holds = False

    def close(self) -> None:
        """Closed, the server gives back what it had locked."""
        if not self._database.deaf:
            self._database.connections.discard(self)
            self._unlock()

    @asynccontextmanager
    async def cursor(self) -> AsyncIterator[Connection]:
        """Itself."""
        yield self

    def _unlock(self) -> None:
        if self._holds and not self._database.deaf:
            self._holds = False
            self._database.free.set()

    async def execute(self, statement: str, parameters: Sequence[object] = ()) -> None:
        """Does what the statement says."""
        database = self._database
        if database.down:
            raise OperationalError(2013, "Lost connection")
        database.said.append(statement)
        match statement.split():
            case ["SHOW", "GLOBAL", "STATUS", *_]:
                self._rows = [("Threads_connected", str(max(1, len(database.connections))))]
            case ["SELECT", "@@max_connections"]:
                self._rows = [(database.allowed,)]
            case ["LOCK", *_]:
                await database.free.wait()
                if not database.deaf:
                    self._holds = True
                    database.free.clear()
            case ["UNLOCK", *_]:
                self._unlock()
            case ["SELECT", "COUNT(*)", *_]:
                self._rows = [(database.waiting.pop(0) if database.waiting else 0,)]
            case ["SELECT", "id", "FROM", "posts", *_]:
                await database.free.wait()
            case ["SELECT", "column_name", *_]:
                self._rows = [(name,) for name in parameters if name in (database.columns or {database.column})]
            case ["ALTER", "TABLE", "comments", "RENAME", "COLUMN", _, "TO", to, *_]:
                if not database.deaf:
                    database.column = to.strip("`,")
            case ["SET", *_]:
                pass
            case words:
                await self._about_the_index(words, parameters)

    async def _about_the_index(self, words: Sequence[str], parameters: Sequence[object]) -> None:
        database = self._database
        match words:
            case ["SHOW", "SESSION", "STATUS", *_]:
                self._rows = [("Slow_queries", str(database.slow_statements))]
            case ["EXPLAIN", *_]:
                self.description = [("table",), ("type",), ("key",)]
                self._rows = [("c", "ref", "comments_post") if database.indexed else ("c", "index", "PRIMARY")]
            case ["SELECT", "c.id,", *_]:
                if not database.indexed:
                    await asyncio.sleep(SCAN_SECONDS)
                    database.slow_statements += 1
            case ["SELECT", "id", "FROM", "comments_migrated" | "information_schema.processlist", *_]:
                self._rows = []
            case ["SELECT", "MAX(id)" | "COALESCE(MAX(id),", *_]:
                self._rows = [(3,)]
            case ["SELECT", "table_name", *_]:
                self._rows = [(name,) for name in parameters if name in database.tables]
            case ["CREATE" | "DROP" | "RENAME", "TABLE", *_]:
                self._migrate(words)
            case ["INSERT", *_] | ["ALTER", "TABLE", "comments_migrated" | "comments_before_migration", *_]:
                pass
            case _:
                raise AssertionError(words)

    def _migrate(self, words: Sequence[str]) -> None:
        tables = self._database.tables
        match words:
            case _ if self._database.deaf:
                pass
            case ["CREATE", "TABLE", name, *_]:
                tables.add(name)
            case ["DROP", "TABLE", name]:
                tables.remove(name)
            case ["RENAME", "TABLE", first, "TO", second, third, "TO", _]:
                assert tables == {first, third}
                tables.clear()
                tables |= {first, second.strip(",")}

    async def fetchall(self) -> list[tuple[object, ...]]:
        """The rows of the last statement."""
        return self._rows

    async def fetchone(self) -> tuple[object, ...]:
        """The first of them."""
        return self._rows[0]


class Cache:
    """A Redis of the few commands that are said to it, over TCP."""

    def __init__(self) -> None:
        self.keys: set[str] = set()
        self.deaf = False
        self.clearings = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> Address:
        """Listens."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return Address(*self._server.sockets[0].getsockname())

    async def end(self) -> None:
        """Ends, and every connection with it."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while line := await reader.readline():
                words = [line.decode().strip()]
                if line.startswith(b"*"):
                    words = []
                    for _ in range(int(line[1:])):
                        size = int((await reader.readline())[1:])
                        words.append((await reader.readexactly(size + 2))[:-2].decode())
                writer.write(self._answer(words).encode())
        self._writers.discard(writer)
        writer.close()

    def _answer(self, words: Sequence[str]) -> str:
        match words:
            case ["PING"]:
                return "+PONG\r\n"
            case ["SCAN", "0", "MATCH", "post:*", *_]:
                self.clearings += 1
                found = sorted(key for key in self.keys if key.startswith("post:"))
                return f"*2\r\n$1\r\n0\r\n*{len(found)}\r\n" + "".join(f"${len(key)}\r\n{key}\r\n" for key in found)
            case ["DEL", *keys]:
                self.keys -= set() if self.deaf else set(keys)
                return f":{len(keys)}\r\n"
            case ["CLIENT", *_]:
                return "+OK\r\n"
        raise AssertionError(words)


class Application:
    """The subject; each look at its counters finds that the load has gone on."""

    def __init__(self, database: Database, cache: Cache) -> None:
        self._database = database
        self._cache = cache
        self._runner: web.AppRunner | None = None
        self.address = Address("127.0.0.1", 0)
        self.load = True
        self.deaf = False
        self.counted: dict[str, float] = dict.fromkeys((*COUNTED, "queries", "query_seconds"), 0.0)
        self.total = 96e6
        self.base = 38e6
        self.held = 0
        self.most: int | None = None
        self.login_status = 401
        self.guesses = 0
        self.metrics_status = 200
        self.text: str | None = None

    async def start(self) -> None:
        """Listens."""
        app = web.Application(client_max_size=2**21)
        app.router.add_get("/health", self._ok)
        app.router.add_get("/api/posts/1/comments", self._comments)
        app.router.add_get("/api/performance/metrics", self._metrics)
        app.router.add_post("/api/auth/register", self._registered)
        app.router.add_post("/api/auth/login", self._login)
        app.router.add_post("/api/auth/logout", self._logout)
        app.router.add_post("/api/previews", self._preview)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.address = Address(*self._runner.addresses[0])

    async def end(self) -> None:
        """Ends."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _ok(self, _: web.Request) -> web.Response:
        return web.Response()

    def _reads_comments(self) -> bool:
        well = self._database.column == "id"
        self.counted["ok" if well else "failed"] += 1
        return well

    async def _comments(self, _: web.Request) -> web.Response:
        return web.Response(status=200 if self._reads_comments() else 500)

    async def _registered(self, _: web.Request) -> web.Response:
        return web.Response(status=201)

    async def _login(self, request: web.Request) -> web.Response:
        if (await request.json())["name"].startswith("uploader-"):
            return web.Response()
        self.guesses += 1
        self.counted["logins"] += 0 if self.deaf else 1
        return web.Response(status=self.login_status)

    async def _logout(self, _: web.Request) -> web.Response:
        self.held = self.held if self.deaf else 0
        return web.Response(status=204)

    async def _preview(self, request: web.Request) -> web.Response:
        size = len(await request.read())
        if self.most is not None and self.held + size > self.most:
            return web.Response(status=413)
        self.held += 0 if self.deaf else size
        return web.Response(status=201)

    async def _metrics(self, _: web.Request) -> web.Response:
        if self.load:
            self._goes_on()
        return web.Response(text=self.text if self.text is not None else self._exposition(), status=self.metrics_status)

    def _goes_on(self) -> None:
        counted = self.counted
        self._reads_comments()
        counted["ok"] += REQUESTS_A_LOOK - 1
        counted["seconds"] += REQUESTS_A_LOOK * (0.003 if self._database.free.is_set() else LOCKED_ANSWER_SECONDS)
        counted["queries"] += REQUESTS_A_LOOK
        counted["query_seconds"] += REQUESTS_A_LOOK * (
            QUICK_MEAN_SECONDS if self._database.indexed else SCANNED_MEAN_SECONDS
        )
        for key in ("post:1", "post:2"):
            counted["hits" if key in self._cache.keys else "misses"] += 1
            self._cache.keys.add(key)

    def _exposition(self) -> str:
        counted = self.counted
        requests = counted["ok"] + counted["failed"]
        samples = {
            'http_requests_total{status="200"}': counted["ok"],
            'http_requests_total{status="500"}': counted["failed"],
            "http_request_duration_seconds_sum": counted["seconds"],
            "http_request_duration_seconds_count": requests,
            'cache_hits_total{cache="posts"}': counted["hits"],
            'cache_misses_total{cache="posts"}': counted["misses"],
            "login_failures_total": counted["logins"],
            'database_query_duration_seconds_count{query="list_comments"}': counted["queries"],
            'database_query_duration_seconds_sum{query="list_comments"}': counted["query_seconds"],
            'nodejs_memory_usage_bytes{type="heapUsed"}': self.base + self.held,
            'nodejs_memory_usage_bytes{type="heapTotal"}': self.total,
        }
        return "".join(f"{name} {value}\n" for name, value in samples.items())


class CauseLane(UntouchedLane):
    """A lane of the three."""

    def __init__(self) -> None:
        super().__init__(Lane("a", {}, {}), SECRETS)
        self.database = Database()
        self.cache = Cache()
        self.application = Application(self.database, self.cache)

    async def open(self) -> None:
        """Starts what listens."""
        await self.application.start()
        addresses = {
            "community-platform": self.application.address,
            "mysql": Address("127.0.0.1", 1),
            "redis": await self.cache.start(),
        }
        self._lane = Lane("a", addresses, {})
        self.cache.keys |= {"session:1"}

    async def close(self) -> None:
        """Ends it."""
        await self.application.end()
        await self.cache.end()

    def be_deaf(self) -> None:
        """From now on nothing that is done has an effect."""
        self.database.deaf = self.cache.deaf = self.application.deaf = True

    async def fail(self) -> None:
        """Nothing is well any more."""
        self.database.down = True
        self.application.metrics_status = 503
        await self.close()

    @property
    def traces(self) -> Mapping[str, object]:
        """What a fault may leave behind."""
        return {
            "connections": len(self.database.connections),
            "locked": not self.database.free.is_set(),
            "column": self.database.column,
            "tables": self.database.tables,
            "previews": self.application.held,
            "sessions": "session:1" in self.cache.keys,
        }


WELL: Mapping[str, object] = {
    "connections": 0,
    "locked": False,
    "column": "id",
    "tables": {"comments"},
    "previews": 0,
    "sessions": True,
}
"""What there is of it in health."""
