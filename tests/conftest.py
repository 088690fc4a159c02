"""Real components for tests that need them, brought once a session into the ordinary cache."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from harness.cli import cache_folder
from harness.model.stack import Artifact


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
