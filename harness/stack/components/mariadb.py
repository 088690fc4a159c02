"""MariaDB: a lane's own server, copied from a template so that it stands in a fraction of a second."""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
import shutil
import signal
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from harness.errors import CacheError, DiskFull, StackError
from harness.stack.command import Command, base_environment
from harness.stack.guard import RUN_VARIABLE
from harness.stack.ports import LOOPBACK
from harness.stack.probe import exchange
from harness.stack.runtimes import Launch
from harness.stack.site import Site

_HERE = "data, sockets and logs stay in the sandbox"
_REDO_LOG = "4M"
_PROTOCOL_10 = b"\x0a"
_TEMPLATE_SECONDS = 120.0
_LOCK_POLL_SECONDS = 0.05


class MariaDB:
    """A MariaDB server with one database, one user for the subject and one for the exporter.

    Its root account has no password and cannot log in over TCP.
    """

    kind = "mariadb"
    artifact = "mariadb"
    needs: tuple[str, ...] = ()
    relayed = True

    def credentials(self) -> Mapping[str, str]:
        """One account for the subject, one for the exporter, and the name of the database."""
        return {
            "mysql_user": "app",
            "mysql_password": secrets.token_hex(16),
            "mysql_database": "app",
            "mysql_exporter_user": "exporter",
            "mysql_exporter_password": secrets.token_hex(16),
        }

    async def prepare(self, site: Site) -> None:
        """Copies the template, writes the statements that make the lane's accounts."""
        template = await _template(site)
        await asyncio.to_thread(_copy, template, site.data / "mysql")
        init = site.data / "init.sql"
        init.touch(mode=0o600)
        init.write_text(_accounts(site.secrets))

    def launch(self, site: Site) -> Launch:
        """The unit's server over the copied data folder."""
        base = _base(site)
        command = Command(site, "mariadbd")
        command.first("--no-defaults")
        command.drop("--defaults-file", "--defaults-extra-file", why="production's my.cnf is not here; flags are kept")
        command.put("--basedir", str(base), "the program comes from the cache, not from the system")
        command.put("--lc-messages-dir", str(base / "share/mysql"), "messages come from the cache too")
        command.put("--plugin-dir", str(base / "lib/mysql/plugin"), "plugins come from the cache too")
        command.put("--datadir", str(site.data / "mysql"), _HERE)
        # Relative to the data folder: the path of a Unix socket may have 107 characters.
        command.put("--socket", "mysqld.sock", _HERE)
        command.put("--pid-file", "mysqld.pid", _HERE)
        command.put("--tmpdir", str(site.data), _HERE)
        command.put("--bind-address", LOOPBACK, "loopback only")
        command.put("--port", str(site.address.port), "a free port")
        command.put("--init-file", str(site.data / "init.sql"), "makes the database and its users")
        command.drop("--log-error", "--general-log-file", "--slow-query-log-file", "--secure-file-priv", why=_HERE)
        command.drop("--ssl-ca", "--ssl-cert", "--ssl-key", why="nothing but loopback is served")
        command.drop("--user", why="it runs as whoever runs the harness")
        if os.geteuid() == 0:
            command.put("--user", "root", "it runs as whoever runs the harness")
        command.default("--skip-name-resolve", None, "no name of production's is known here")
        command.default(
            "--innodb-log-file-size", _REDO_LOG, "the template's own size, else every start makes a new one"
        )
        command.default("--innodb-use-native-aio", "0", "many servers side by side exceed the kernel's allowance")
        return command.launch()

    async def ready(self, site: Site) -> str | None:
        """The server's greeting."""
        # The server greets only after the statements of the init file ran: four bytes of header, then the version of
        # the protocol (mariadb.com/kb, "Initial Handshake Packet"); a refusal has 0xff in that place.
        answer = await exchange(site.address, b"", until=_PROTOCOL_10)
        return answer if isinstance(answer, str) else None


def _accounts(credentials: Mapping[str, str]) -> str:
    """One statement a line, as an init file wants it; each may be run again at every restart."""
    database = credentials["mysql_database"]
    user, exporter = (f"'{credentials[name]}'@'{LOOPBACK}'" for name in ("mysql_user", "mysql_exporter_user"))
    return "\n".join(
        [
            f"CREATE DATABASE IF NOT EXISTS `{database}` CHARACTER SET utf8mb4;",
            f"CREATE USER IF NOT EXISTS {user} IDENTIFIED BY '{credentials['mysql_password']}';",
            f"GRANT ALL PRIVILEGES ON `{database}`.* TO {user};",
            f"CREATE USER IF NOT EXISTS {exporter} IDENTIFIED BY '{credentials['mysql_exporter_password']}';",
            f"GRANT PROCESS, REPLICATION CLIENT, SLAVE MONITOR, SELECT ON *.* TO {exporter};",
            "",
        ]
    )


def _base(site: Site) -> Path:
    """The `usr` of the private root that the server was unpacked into."""
    return Path(site.program("mariadbd")).parent.parent


async def _template(site: Site) -> Path:
    """A data folder that `mariadb-install-db` made once for this version; made now if there is none."""
    version = site.artifact.version if site.artifact else ""
    folder = site.cache / "templates"
    template = folder / f"mariadb-{version.replace('/', '_')}"
    if template.is_dir():
        return template
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"{template.name}.lock").open("ab") as lock:
            await _locked(lock.fileno())
            if not template.is_dir():
                await _install(site, template)
    except OSError as error:
        raise _full_or_broken(template, error) from error
    return template


async def _locked(descriptor: int) -> None:
    """Waits for the lock; every lane asks at once and one of them makes the template."""
    async with asyncio.timeout(_TEMPLATE_SECONDS):
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                await asyncio.sleep(_LOCK_POLL_SECONDS)
            else:
                return


async def _install(site: Site, template: Path) -> None:
    partial = template.with_name(template.name + ".partial")
    await asyncio.to_thread(shutil.rmtree, partial, ignore_errors=True)
    assert site.artifact is not None
    process = await asyncio.create_subprocess_exec(
        site.program("mariadb-install-db"),
        "--no-defaults",
        f"--basedir={_base(site)}",
        f"--datadir={partial}",
        "--auth-root-authentication-method=socket",
        f"--auth-root-socket-user={'root' if os.geteuid() == 0 else 'nobody'}",
        "--skip-test-db",
        "--skip-name-resolve",
        f"--innodb-log-file-size={_REDO_LOG}",
        *(["--user=root"] if os.geteuid() == 0 else []),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**base_environment(site), **site.artifact.environment, RUN_VARIABLE: site.run},
        cwd=site.data,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(_TEMPLATE_SECONDS):
            output, _ = await process.communicate()
    except TimeoutError:
        output = b"it did not end in time"
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if process.returncode != 0:
        raise StackError(
            "The data folder of MariaDB could not be made",
            expected="mariadb-install-db ends with 0",
            seen=f"code {process.returncode}",
            output=output.decode(errors="replace").splitlines()[-20:],
        )
    partial.rename(template)


def _copy(template: Path, data: Path) -> None:
    try:
        shutil.copytree(template, data)
    except (OSError, shutil.Error) as error:
        raise _full_or_broken(data, error) from error


def _full_or_broken(path: Path, error: Exception) -> CacheError:
    kind = DiskFull if "No space left" in str(error) else CacheError
    return kind(f"The data folder of MariaDB cannot be made at {path}", seen=str(error))
