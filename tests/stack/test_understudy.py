"""A second real Alertmanager beside the stack's: it stands for a while, works by its own file, and is gone after."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from harness.errors import ComponentDied, StackError
from harness.model.stack import Artifact
from harness.policy.rewire.shortened import shortened
from harness.run import load_policies
from harness.stack.guard import Guard
from harness.stack.layout import Layout, lay_out
from harness.stack.probe import Answer, ask
from harness.stack.runtimes.process import ProcessRuntime
from harness.stack.understudy import understudy

pytestmark = pytest.mark.stack

ROOT = Path(__file__).parent.parent.parent
CONFIGURATION = """
route: {receiver: nobody, group_interval: 5s, repeat_interval: 1h}
receivers: [{name: nobody}]
"""


@asynccontextmanager
async def laid_out(
    tmp_path: Path, cache: Path, artifacts: Mapping[str, Artifact]
) -> AsyncIterator[tuple[Layout, ProcessRuntime]]:
    """The shipped stack's layout, of which nothing stands."""
    policies = load_policies(ROOT / "policies").policies
    logs = tmp_path / "logs"
    logs.mkdir()
    async with Guard.open("understudy", cache) as guard:
        layout = lay_out(
            policies, artifacts, ("lane-01",), run="understudy", sandbox=guard.sandbox, logs=logs, cache=cache
        )
        layout.configuration.mkdir(parents=True)
        runtime = ProcessRuntime(guard)
        try:
            yield layout, runtime
        finally:
            await runtime.close()
            layout.close()


async def test_it_stands_by_its_own_file_for_a_while(
    tmp_path: Path, cache: Path, artifacts: Mapping[str, Artifact]
) -> None:
    """It answers with the shortened interval at an address of its own, and is refused after; may be had again."""
    text, _ = shortened(CONFIGURATION, "alertmanager.yml", timedelta(seconds=12))
    async with laid_out(tmp_path, cache, artifacts) as (layout, runtime):
        for name in ("second", "third"):
            async with understudy(layout, runtime, "alertmanager", name, text) as address:
                assert address not in {site.address for site in layout.sites}
                answer = await ask(address, "/api/v2/status")
                assert isinstance(answer, Answer)
                assert "repeat_interval: 12s" in answer.body
                assert "repeat_interval: 1h" not in answer.body
            assert isinstance(await ask(address, "/-/ready"), str), "it is gone"
            assert (layout.configuration / f"{name}.yml").stat().st_mode & 0o077 == 0
            assert (tmp_path / "logs" / f"{name}.log").exists()


async def test_one_that_cannot_start_is_told(tmp_path: Path, cache: Path, artifacts: Mapping[str, Artifact]) -> None:
    """By its own last words; of a kind that has no file of its own there is none to be had."""
    async with laid_out(tmp_path, cache, artifacts) as (layout, runtime):
        with pytest.raises(ComponentDied, match="second ended"):
            async with understudy(layout, runtime, "alertmanager", "second", "route: {receiver: unknown}\n"):
                raise AssertionError("it does not start")
        with pytest.raises(StackError, match="There is no redis with a configuration of its own"):
            async with understudy(layout, runtime, "redis", "second", ""):
                raise AssertionError("there is none")
