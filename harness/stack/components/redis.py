"""Redis: a lane's cache, empty at first, ready when it answers PING."""

from __future__ import annotations

from collections.abc import Mapping

from harness.stack.command import Command
from harness.stack.ports import LOOPBACK
from harness.stack.probe import exchange
from harness.stack.runtimes import Launch
from harness.stack.site import Site

_HERE = "data and logs stay in the sandbox"


class Redis:
    """A Redis server without a password: it listens on loopback only and holds nothing of anybody's."""

    kind = "redis"
    artifact = "redis"
    needs: tuple[str, ...] = ()
    relayed = True

    def credentials(self) -> Mapping[str, str]:
        """None."""
        return {}

    async def prepare(self, site: Site) -> None:
        """Nothing."""

    def launch(self, site: Site) -> Launch:
        """The unit's Redis, in the foreground."""
        command = Command(site, "redis-server", spaced=True)
        command.drop_positional("production's redis.conf is not here; the flags of the unit are kept")
        command.put("--bind", LOOPBACK, "loopback only")
        command.put("--port", str(site.address.port), "a free port")
        command.put("--dir", str(site.data), _HERE)
        command.put("--daemonize", "no", "the supervisor holds it in the foreground")
        command.drop("--supervised", why="there is no systemd here")
        command.drop("--logfile", "--pidfile", "--unixsocket", "--unixsocketperm", "--aclfile", "--include", why=_HERE)
        command.drop("--requirepass", "--masterauth", why="nothing but loopback is served", secret=True)
        command.default("--save", "", "its data is thrown away")
        return command.launch()

    async def ready(self, site: Site) -> str | None:
        """PING."""
        answer = await exchange(site.address, b"PING\r\n", until=b"\r\n")
        if answer == b"+PONG\r\n":
            return None
        return answer if isinstance(answer, str) else f"Redis answers {answer.decode(errors='replace').strip()}"
