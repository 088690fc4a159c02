"""The class `metrics`, with a real Prometheus that writes into a real InfluxDB: what is lost or wrong is found."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from aiohttp import ClientSession
from influx_stand import Application, Influxd, Program, an_influxdb, free_address, standing

from harness.model.series import SeriesCompared
from harness.model.stack import Address, Artifact
from harness.observe.asking import ask
from harness.observe.series import of_prometheus
from harness.observe.series.of_prometheus import Metrics, compare_metrics
from harness.policy.parse.prometheus import RemoteWrite, parse

pytestmark = pytest.mark.stack

SHIPPED = (Path(__file__).parents[2] / "policies" / "prometheus.yml").read_text()
[REMOTE] = parse(SHIPPED, "prometheus.yml").value.remote_writes
MILLION = 1_000_000


@dataclass
class Written:
    """A Prometheus that writes, and who takes it."""

    prometheus: Address
    program: Program
    influxd: Influxd
    application: Application
    began: float

    async def compared(self, since: float, until: float, *, limit: float = 30.0) -> SeriesCompared:
        """The comparison of a window."""
        asked = Metrics(
            self.prometheus, self.influxd.address, "prometheus", REMOTE, {}, since, until, 7, limit_seconds=limit
        )
        return await compare_metrics(asked)

    async def samples(self, query: str, at: float) -> list[tuple[int, float]]:
        """Raw samples of the last ten seconds before an instant, in milliseconds."""
        async with ClientSession(f"http://{self.prometheus}") as session:
            [found] = await ask(session, f"{query}[10s]", at)
        return [(round(float(when) * 1000), float(value)) for when, value in found["values"]]


@asynccontextmanager
async def written(tmp_path: Path, artifacts: Mapping[str, Artifact]) -> AsyncIterator[Written]:
    """The shipped remote_write, at work since an instant."""
    application, prometheus = Application(), free_address()
    async with an_influxdb(artifacts, tmp_path / "influxdb", "metrics") as influxd, application.listening() as scraped:
        [remote] = yaml.safe_load(SHIPPED)["remote_write"]
        remote["url"] = remote["url"].replace("influxdb:8086", str(influxd.address))
        configuration = {
            "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms"},
            "remote_write": [remote],
            "scrape_configs": [
                {
                    "job_name": "a",
                    "static_configs": [{"targets": [str(scraped)], "labels": {"environment": "lane-01"}}],
                }
            ],
        }
        (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(configuration))
        program = Program(
            artifacts["prometheus"],
            "prometheus",
            tmp_path / "prometheus.log",
            f"--config.file={tmp_path}/prometheus.yml",
            f"--storage.tsdb.path={tmp_path}/tsdb",
            f"--web.listen-address={prometheus}",
        )
        began = time.time()
        async with standing(program):
            async with asyncio.timeout(30):
                while application.scrapes < 12:  # noqa: ASYNC110 - who scrapes knows nothing of us
                    await asyncio.sleep(0.1)
            yield Written(prometheus, program, influxd, application, began)


def counts(one: SeriesCompared) -> tuple[int, int, int, int]:
    """Missing, differing, foreign and twofold ones."""
    assert one.error == ""
    return one.missing, one.differing, one.foreign, one.twice


async def test_every_sample_is_there_and_what_is_not_is_found(
    tmp_path: Path, artifacts: Mapping[str, Artifact]
) -> None:
    """All of a window; then a sample that is deleted is missing, a changed one differs, an added one is foreign."""
    async with written(tmp_path, artifacts) as on:
        until = time.time()
        whole = await on.compared(on.began, until)
        assert counts(whole) == (0, 0, 0, 0)
        # up, http_requests_total, cache_ratio, database_flap; the others are not sent.
        assert (whole.known, whole.series, whole.store[:12]) == (4, 4, "InfluxDB 1.6")
        assert whole.found == whole.expected >= 4 * 8
        assert whole.unwritable >= 2
        assert (whole.control.exact, whole.control.withheld, whole.control.changed) == (True, 2, 2)
        assert 0 < whole.waited_seconds < 10

        ups = await on.samples("up", until)
        await on.influxd.does(f"DELETE FROM up WHERE time = {ups[3][0] * MILLION}", "metrics")  # noqa: S608 - a number
        without = await on.compared(on.began, until)
        assert counts(without) == (1, 0, 0, 0)
        [gap] = without.gaps
        assert (gap.from_at <= ups[3][0] / 1000 < gap.to_at, gap.missing) == (True, 1)
        assert without.examples["missing"][0].startswith("up{")
        assert without.control.exact

        tags = await _line_tags(on, "cache_ratio")
        ratios = await on.samples("cache_ratio", until)
        number = next(at for at, value in ratios if math.isfinite(value))
        none = next(at for at, value in ratios if math.isnan(value))
        await on.influxd.takes("metrics", f"{tags} value=99 {number * MILLION}")
        assert counts(await on.compared(on.began, until)) == (1, 1, 0, 0)
        await on.influxd.takes("metrics", f"{tags} value=1 {none * MILLION}", f"{tags} value=1 {number * MILLION + 1}")
        assert counts(await on.compared(on.began, until)) == (1, 1, 2, 0)


async def test_a_series_that_is_not_there_at_all_is_found_without_being_drawn(
    tmp_path: Path, artifacts: Mapping[str, Artifact], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing but `up` is drawn: what one end alone has is compared all the same, from either end."""
    monkeypatch.setattr(of_prometheus, "DRAWN", 0)
    async with written(tmp_path, artifacts) as on:
        until = time.time()
        alone = await on.compared(on.began, until)
        assert (alone.series, counts(alone)) == (1, (0, 0, 0, 0))
        await on.influxd.does("DROP SERIES FROM database_flap", "metrics")
        await on.influxd.takes("metrics", f"nobodys,__name__=nobodys,job=x value=1 {round(until * 1000) * MILLION}")
        found = await on.compared(on.began, until)
        assert found.missing >= 6
        assert (found.differing, found.foreign, found.series) == (0, 1, 3)


async def test_an_outage_of_influxdb_loses_nothing(tmp_path: Path, artifacts: Mapping[str, Artifact]) -> None:
    """Killed for five seconds in the middle: Prometheus keeps what it could not send, and sends it."""
    async with written(tmp_path, artifacts) as on:
        await on.influxd.program.kill()
        refused = await on.compared(on.began, time.time(), limit=0.5)
        assert refused.error.startswith(f"The InfluxDB at {on.influxd.address} cannot be asked")
        await asyncio.sleep(5)  # the outage itself, and nothing is waited for
        await on.influxd.program.start()
        await on.influxd.until_it_answers()
        whole = await on.compared(on.began, time.time())
        assert counts(whole) == (0, 0, 0, 0)
        assert whole.expected >= 4 * 16


async def test_an_infinite_sample_takes_its_batch_with_it_and_that_is_found(
    tmp_path: Path, artifacts: Mapping[str, Artifact]
) -> None:
    """InfluxDB refuses all of a batch for it, and Prometheus does not send it again; nothing says so but its log."""
    async with written(tmp_path, artifacts) as on:
        on.application.more = "http_limit +Inf\n"
        before = on.application.scrapes
        async with asyncio.timeout(30):
            while on.application.scrapes < before + 6:  # noqa: ASYNC110 - who scrapes knows nothing of us
                await asyncio.sleep(0.1)
        found = await on.compared(on.began, time.time())
        assert found.missing > 4
        assert found.unwritable >= 5


async def test_what_was_not_sent_in_time_is_said(tmp_path: Path, artifacts: Mapping[str, Artifact]) -> None:
    """A window that ends in the future is never sent: one sentence, and no figure that could be taken for a result."""
    async with written(tmp_path, artifacts) as on:
        until = time.time() + 5
        found = await on.compared(on.began, until, limit=-6.0)
        assert "had not sent all of the window" in found.error
        assert (found.expected, found.found) == (0, 0)


async def test_rules_that_nobody_can_follow_are_said(tmp_path: Path) -> None:
    """Where series are renamed on their way nothing is compared, and nobody is asked."""
    nobody = free_address()
    remote = RemoteWrite(REMOTE.url, (), "its write_relabel_configs have the action 'replace'")
    found = await compare_metrics(Metrics(nobody, nobody, "prometheus", remote, {}, 0.0, 1.0, 7))
    assert (
        found.error == "nobody can say here which series are sent: its write_relabel_configs have the action 'replace'"
    )
    gone = await compare_metrics(Metrics(nobody, nobody, "prometheus", REMOTE, {}, 0.0, 1.0, 7))
    assert "cannot be asked" in gone.error


async def _line_tags(on: Written, name: str) -> str:
    """A series of one target as the line protocol writes it."""
    async with ClientSession(f"http://{on.prometheus}") as session:
        [found] = await ask(session, name)
    tags = "".join(f",{label}={value}" for label, value in sorted(found["metric"].items()))
    return f"{name}{tags}"
