"""What was really brought, started: the programs of logs, events and their stores."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from fake_registry import output_of

from harness.model.stack import Artifact

pytestmark = pytest.mark.stack


@pytest.mark.parametrize(
    ("name", "program", "question", "answer"),
    [
        ("filebeat", "filebeat", "version", "filebeat version 7.12.1"),
        ("influxdb", "influxd", "version", "InfluxDB v1."),
        ("nginx", "nginx", "-v", "nginx/1."),
        ("mariadb-client", "mariadb-dump", "--version", "MariaDB"),
        ("opensearch", "java", "-version", "openjdk version"),
    ],
)
def test_it_tells_its_version(
    artifacts: Mapping[str, Artifact], name: str, program: str, question: str, answer: str
) -> None:
    """With nothing but its artifact's environment."""
    artifact = artifacts[name]
    environment = {"PATH": os.defpath, **artifact.environment}
    assert answer in output_of(artifact.programs[program], question, environment=environment)


def test_chdb_answers_with_its_environment_and_is_unknown_without(artifacts: Mapping[str, Artifact]) -> None:
    """ClickHouse's engine in a process of its own; nobody else imports it by accident."""
    ask = "import chdb; print(chdb.query('select 6 * 7'))"
    environment = {**os.environ, **artifacts["chdb"].environment}
    assert output_of(sys.executable, "-c", ask, environment=environment).strip() == "42"
    known = "import importlib.util as u; print(u.find_spec('chdb') is not None)"
    assert output_of(sys.executable, "-c", known, environment={"PATH": os.defpath}).strip() == "False"


@pytest.mark.nightly
async def test_the_real_one_starts_with_its_record_and_ends_when_told(
    artifacts: Mapping[str, Artifact], tmp_path: Path
) -> None:
    """Most classes come from the record (twin: without it none does), and SIGTERM ends it."""
    counted = {}
    for record in ("auto", "off"):
        log = tmp_path / f"classes-{record}"
        home = tmp_path / f"home-{record}"
        home.mkdir()
        process = await asyncio.create_subprocess_exec(
            artifacts["opensearch"].programs["opensearch"],
            str(home),
            env={
                "PATH": os.defpath,
                "TMPDIR": str(home),
                "OPENSEARCH_JAVA_OPTS": f"-Xshare:{record} -Xmx400m -Xlog:class+load:file={log}",
            },
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        try:
            async with asyncio.timeout(180):
                while (line := await process.stdout.readline()).strip() != b"STARTED":
                    assert line, f"it ended before it was ready: {process.returncode}"
                process.terminate()
                await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        counted[record] = log.read_text().count("source: shared objects file (top)")
    assert counted["auto"] > 5000
    assert counted["off"] == 0
