"""Wheels by the real pip from a folder of ours: verified, apart from every environment, told when they are wrong."""

from __future__ import annotations

import hashlib
import os
import sys
import zipfile
from pathlib import Path
from types import MappingProxyType

import pytest
from fake_registry import output_of, silent

from harness.errors import Offline, ProvisionError
from harness.stack.provision import catalog, pypi
from harness.stack.provision.cache import cached, work_folder
from harness.stack.provision.catalog import select
from harness.stack.provision.fetch import fetch
from harness.stack.provision.source import Package, PypiRecipe

WHEEL = "tocsin_example-1.0-py3-none-any.whl"


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one wheel, which is all that pip may see; the catalogue offers it as `example`."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    with zipfile.ZipFile(folder / WHEEL, "w") as wheel:
        about = "tocsin_example-1.0.dist-info"
        wheel.writestr("tocsin_example/__init__.py", "ANSWER = 42\n")
        # It depends on something that nobody has: what a wheel depends on is never asked for.
        wheel.writestr(
            f"{about}/METADATA",
            "Metadata-Version: 2.1\nName: tocsin-example\nVersion: 1.0\nRequires-Dist: nobody-has\n",
        )
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", f"tocsin_example/__init__.py,,\n{about}/METADATA,,\n{about}/WHEEL,,\n")
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    offer(monkeypatch, hashlib.sha256((folder / WHEEL).read_bytes()).hexdigest())
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """An empty cache."""
    return tmp_path / "cache"


def offer(monkeypatch: pytest.MonkeyPatch, digest: str, module: str = "tocsin_example") -> None:
    """Puts the wheel into the catalogue, with this hash."""
    package = Package(
        name="example",
        recipe=PypiRecipe(requirement="tocsin-example==1.0", sums=("0" * 64, digest), module=module),
        programs=MappingProxyType({}),
        proved=(),
        paths=MappingProxyType({"PYTHONPATH": "site"}),
    )
    monkeypatch.setattr(catalog, "CATALOG", (*catalog.CATALOG, package))
    monkeypatch.setattr(catalog, "NAMES", (*catalog.NAMES, "example"))


async def test_a_wheel_is_importable_by_its_environment_and_by_nothing_else(
    wheels: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PYTHONPATH leads to it; without it (the twin) the module is unknown; nothing goes into HOME."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PIP_USER", "1")
    found = (await fetch(["example"], cache, silent))["example"]
    assert (found.version, found.source) == ("1.0", "pypi")
    assert found.environment == {"PYTHONPATH": f"{found.root}/site"}
    ask = [sys.executable, "-c", "import importlib.util as u; print(u.find_spec('tocsin_example') is not None)"]
    assert output_of(*ask, environment={**os.environ, **found.environment}).strip() == "True"
    assert output_of(*ask).strip() == "False"
    assert not (tmp_path / "home/.local").exists()
    assert not (tmp_path / "home/.cache").exists()


@pytest.mark.parametrize("spoil", ["another hash", "cut off"])
async def test_a_wheel_that_is_not_ours_is_never_published(
    wheels: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, spoil: str
) -> None:
    """Another file of the same name, or half of it: pip's own words, and nothing is kept."""
    if spoil == "cut off":
        whole = (wheels / WHEEL).read_bytes()
        (wheels / WHEEL).write_bytes(whole[: len(whole) // 2])
    else:
        offer(monkeypatch, "1" * 64)
        monkeypatch.setattr(catalog, "CATALOG", catalog.CATALOG[-1:])
    with pytest.raises(ProvisionError, match="cannot be brought") as caught:
        await fetch(["example"], cache, silent)
    assert "HASH" in str(caught.value).upper()
    assert cached(["example"], cache) is None
    assert not work_folder(cache).exists()


async def test_a_module_that_cannot_be_imported_is_told(
    wheels: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is imported once before it is published."""
    offer(monkeypatch, hashlib.sha256((wheels / WHEEL).read_bytes()).hexdigest(), module="tocsin_other")
    monkeypatch.setattr(catalog, "CATALOG", catalog.CATALOG[-1:])
    with pytest.raises(ProvisionError, match="tocsin_other was brought and cannot be imported"):
        await fetch(["example"], cache, silent)


async def test_an_index_that_cannot_be_reached_is_told(
    wheels: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A closed port is no network, and not a missing wheel."""
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(Offline):
        await fetch(["example"], cache, silent)


async def test_a_python_without_pip_is_told(
    wheels: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sentence says how pip comes to this Python."""
    bare = tmp_path / "python"
    bare.write_text("#!/bin/sh\necho 'No module named pip' >&2; exit 1\n")
    bare.chmod(0o755)
    monkeypatch.setattr(pypi, "PYTHON", str(bare))
    with pytest.raises(ProvisionError, match="this Python has none") as caught:
        await fetch(["example"], cache, silent)
    assert "ensurepip" in str(caught.value.hint)


def test_the_catalogue_pins_what_it_brings() -> None:
    """A version and whole hashes, or pip would take whatever is newest."""
    recipe = select(["chdb"])[0].recipe
    assert isinstance(recipe, PypiRecipe)
    assert "==" in recipe.requirement
    assert all(len(digest) == 64 for digest in recipe.sums)
