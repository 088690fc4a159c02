"""InfluxDB 1.x with the team's own configuration and databases; ready when every statement of theirs was run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

from harness.errors import StackError
from harness.model.stack import Difference
from harness.stack.command import Command
from harness.stack.ports import LOOPBACK
from harness.stack.probe import ask
from harness.stack.runtimes import Launch
from harness.stack.site import Site

CONFIGURATION = "influxdb.conf"
"""The file that influxd reads, in the folder of its policy."""

STATEMENTS = "*.iql"
"""The files of InfluxQL beside it that make the databases; every statement may be run again at every start."""

BACKUP_VARIABLE = "INFLUXDB_BIND_ADDRESS"
"""The variable with the address at which `influxd backup` and `influxd restore` speak to it."""

_DDL_SECONDS = 10.0
_NO_CONTENT = 204


class InfluxDB:
    """InfluxDB: settings that the sandbox must change are given in variables, which it prefers to its file."""

    kind = "influxdb"
    artifact = "influxdb"
    needs: tuple[str, ...] = ()
    relayed = True

    def credentials(self) -> Mapping[str, str]:
        """None: nothing but loopback is served."""
        return {}

    async def prepare(self, site: Site) -> None:
        """Nothing: it makes its own folders."""

    def launch(self, site: Site) -> Launch:
        """The unit's influxd over folders of the sandbox."""
        command = Command(site, "influxd", spaced=True)
        if site.configuration is None:
            command.drop("-config", why="this instance has no configuration of production's")
        else:
            command.put("-config", str(site.configuration / CONFIGURATION), "the copy that runs")
        command.drop("-pidfile", "-cpuprofile", "-memprofile", why="the supervisor holds it")
        here = "data stays in the sandbox"
        variables = {
            "INFLUXDB_META_DIR": (str(site.data / "meta"), here),
            "INFLUXDB_DATA_DIR": (str(site.data / "data"), here),
            "INFLUXDB_DATA_WAL_DIR": (str(site.data / "wal"), here),
            "INFLUXDB_HTTP_BIND_ADDRESS": (str(site.address), "a free port of loopback"),
            BACKUP_VARIABLE: (f"{LOOPBACK}:0", "any port of loopback: nobody asks the live one for a backup"),
            "INFLUXDB_REPORTING_DISABLED": ("true", "nothing leaves this machine"),
        }
        launch = command.launch({name: value for name, (value, _) in variables.items()})
        file = f"{site.configuration.name}/{CONFIGURATION}" if site.configuration else CONFIGURATION
        told = (Difference(file, f"Environment {name}", "", value, why) for name, (value, why) in variables.items())
        return replace(launch, differences=(*launch.differences, *told))

    async def ready(self, site: Site) -> str | None:
        """It answers, and every statement of the policy was run.

        Raises:
            StackError: it refuses one of them, or they cannot be read.
        """
        answer = await ask(site.address, "/ping")
        if isinstance(answer, str):
            return answer
        if answer.status != _NO_CONTENT:
            return f"http://{site.address}/ping answers {answer.status}"
        if site.configuration is None:
            return None
        for file in sorted(site.configuration.glob(STATEMENTS)):
            missing = await _run(site, file)
            if missing is not None:
                return missing
        return None


async def _run(site: Site, file: Path) -> str | None:
    """Runs a file of InfluxQL; what is missing where it was not answered."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StackError(f"{file.name} of {site.title} cannot be read", seen=str(error)) from error
    answer = await ask(site.address, f"/query?q={quote(text)}", method="POST", within_seconds=_DDL_SECONDS)
    if isinstance(answer, str):
        return answer
    refused = _refused(answer.body)
    if answer.status != 200 or refused:
        raise StackError(
            f"{site.title} refuses {file.name}",
            expected="InfluxQL that may be run at every start",
            seen=refused or f"{answer.status}: {answer.body[:200]}",
            hint="a database that exists with another retention is altered, not created again",
        )
    return None


def _refused(body: str) -> str:
    """The first error of an answer: of the whole text, or of one of its statements by its number from 1."""
    try:
        told = json.loads(body)
        if "error" in told:
            return str(told["error"])
        for one in told.get("results", []):
            if "error" in one:
                return f"statement {int(one['statement_id']) + 1}: {one['error']}"
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"no answer of InfluxDB: {body[:200]}"
    return ""
