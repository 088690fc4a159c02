"""Real components for tests that need them, brought once a session into the ordinary cache."""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import settings

from harness.cli import cache_folder
from harness.model.stack import Artifact

# The same examples on every change, so that a red run means the change; `--hypothesis-profile=search` looks for new
# ones. No deadlines: a noisy machine is no counter-example. No database: nothing is written into the tree.
settings.register_profile("same", derandomize=True, deadline=None, database=None)
settings.register_profile("search", deadline=None, database=None, max_examples=1000)
settings.load_profile("same")

# A shell that starts us in the background has us ignore Ctrl-C, `nohup` has us ignore hanging up, and every child with
# us; the tests send both on purpose.
for number, handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
    (signal.SIGTERM, signal.SIG_DFL),
):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def cache() -> Path:
    """The cache folder that runs use too: components are not brought twice."""
    return cache_folder()


@pytest.fixture(scope="session")
def artifacts(cache: Path, pytestconfig: pytest.Config) -> Mapping[str, Artifact]:
    """Every component of the catalogue, real; where one cannot be had the test fails, it is never skipped."""
    from harness.stack.provision.catalog import CATALOG
    from harness.stack.provision.fetch import bring

    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        return bring(tuple(package.name for package in CATALOG), cache, lambda text: print(text, file=sys.stderr))  # noqa: T201
