"""Source kind `pypi`: a wheel of the Python package index in a folder of its own, as any user.

The ordinary pip of the Python that runs us downloads and verifies it, by the user's own settings (index, proxy,
certificates); the hashes are ours. Nothing is installed into any environment: whoever needs the module gets its folder
as PYTHONPATH, and nobody else imports half a gigabyte.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.errors import ProvisionError
from harness.stack.provision.commands import run
from harness.stack.provision.source import Deliver, Delivery, Package, PypiRecipe, Say

PYTHON = sys.executable
"""The Python whose pip is used and for which wheels are chosen: the one that runs us."""

SITE = "site"
"""The folder below the root that holds the modules."""


class PypiSource:
    """Brings what a `PypiRecipe` names."""

    @property
    def name(self) -> str:
        """`pypi`."""
        return "pypi"

    async def bring(self, packages: Sequence[Package], workshop: Path, say: Say, deliver: Deliver) -> None:
        """Brings packages one after the other; each is imported once before it is handed over.

        Raises:
            Offline: the index cannot be reached.
            DiskFull: no room is left.
            ProvisionError: there is no pip, the index has no such wheel for this platform, or its hash is another.
        """
        try:
            await run(
                [PYTHON, "-m", "pip", "--version"],
                what="pip does not answer",
                directory=workshop,
                environment=_environment(workshop),
                deadline_seconds=60,
            )
        except ProvisionError as error:
            raise ProvisionError(
                "wheels are brought by pip, and this Python has none",
                expected=f"that `{PYTHON} -m pip --version` answers",
                output=error.output,
                hint="python -m ensurepip, in the environment that Tocsin runs in",
            ) from error
        for package in packages:
            await deliver(await _install(package, workshop, say))


async def _install(package: Package, workshop: Path, say: Say) -> Delivery:
    recipe = _recipe(package)
    room = workshop / package.name
    root = room / "root"
    temporary = room / "tmp"
    for folder in (root, temporary):
        folder.mkdir(parents=True)
    wanted = room / "requirements.txt"
    wanted.write_text(" ".join([recipe.requirement, *(f"--hash=sha256:{one}" for one in recipe.sums)]) + "\n")
    name, _, version = recipe.requirement.partition("==")
    say(f"downloading the wheel of {name} {version}")
    await run(
        [
            PYTHON,
            "-m",
            "pip",
            "install",
            "--progress-bar=off",
            "--disable-pip-version-check",
            "--no-input",
            # Its cache is outside of our folders, and a wheel of this size is not wanted in it.
            "--no-cache-dir",
            "--no-deps",
            "--only-binary=:all:",
            "--require-hashes",
            "--no-warn-script-location",
            "--target",
            str(root / SITE),
            "--requirement",
            str(wanted),
        ],
        what=f"the wheel of {recipe.requirement} cannot be brought",
        directory=room,
        environment=_environment(temporary),
    )
    await run(
        [PYTHON, "-c", f"import {recipe.module}"],
        what=f"the module {recipe.module} was brought and cannot be imported here",
        directory=room,
        environment={**_environment(temporary), "PYTHONPATH": str(root / SITE)},
        deadline_seconds=120,
    )
    return Delivery(package=package, version=version, source="pypi", root=root)


def _recipe(package: Package) -> PypiRecipe:
    if not isinstance(package.recipe, PypiRecipe):
        raise TypeError(f"{package.name} is not a wheel")
    return package.recipe


def _environment(temporary: Path) -> dict[str, str]:
    """The user's environment, temporary files in a folder of ours, and nothing that changes what pip installs where."""
    unwanted = ("PYTHONPATH", "PYTHONHOME", "PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT")
    kept = {name: value for name, value in os.environ.items() if name not in unwanted}
    return kept | {"TMPDIR": str(temporary), "PYTHONNOUSERSITE": "1"}
