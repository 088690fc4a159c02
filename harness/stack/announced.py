"""The targets of one lane that Prometheus discovers in files: taken out of their file, and put back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from harness.errors import FaultError
from harness.model.stack import Address, is_target_file

_WHOLE = ".whole"  # what a file said before anything was withdrawn; no ending of target files, so nobody reads it
_NEW = ".new"


class AnnouncedTargets:
    """The target files of a lane in the rewired copy.

    The files alone hold the state. Each is replaced in one step: Prometheus reads it when the kernel tells of a change,
    and one that is half written would name no target to it.

    Args:
        configuration: the folder of the rewired copy.
        lane: the lane's name.
    """

    def __init__(self, configuration: Path, lane: str) -> None:
        self._configuration = configuration
        self._lane = lane

    def withdraw(self, component: str, address: Address) -> None:
        """Takes a component's address out of the lane's files; what else stands in them stays.

        Raises:
            FaultError: it stands in none, or a file cannot be written.
        """
        found = False
        try:
            for file in self._files():
                whole = _whole(file)
                if str(address) not in _targets(whole):
                    continue
                found = True
                withdrawn = _withdrawn(file) | {str(address)}
                if whole == file:
                    whole = file.with_name(file.name + _WHOLE)
                    _replace(whole, file.read_text(encoding="utf-8"))
                _replace(file, _without(whole, withdrawn))
        except OSError as error:
            raise self._unwritable(component, error) from error
        if not found:
            raise FaultError(
                f"Prometheus does not discover {component} of {self._lane} in a file",
                expected=f"{address} in a target file of the lane",
                hint="name the target in a file under file_sd_configs: one of static_configs cannot be withdrawn",
            )

    def announce(self, component: str, address: Address) -> None:
        """Puts a component's address back where it stood; nothing if it was not withdrawn.

        Raises:
            FaultError: a file cannot be written.
        """
        try:
            for file in self._files():
                withdrawn = _withdrawn(file)
                if str(address) in withdrawn:
                    whole, withdrawn = _whole(file), withdrawn - {str(address)}
                    if withdrawn:
                        _replace(file, _without(whole, withdrawn))
                    else:
                        whole.replace(file)
        except OSError as error:
            raise self._unwritable(component, error) from error

    def _files(self) -> Iterator[Path]:
        for path in sorted(self._configuration.rglob("*")):
            if path.is_file() and is_target_file(path.relative_to(self._configuration).as_posix(), self._lane):
                yield path

    def _unwritable(self, component: str, error: OSError) -> FaultError:
        return FaultError(f"The target file of {component} in {self._lane} cannot be written", seen=str(error))


def _whole(file: Path) -> Path:
    kept = file.with_name(file.name + _WHOLE)
    return kept if kept.exists() else file


def _groups(file: Path) -> list[dict[str, Any]]:
    """The target groups of a file, every value as it is written: the rewire wrote the file."""
    groups: list[dict[str, Any]] = yaml.load(file.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)  # noqa: S506
    return groups


def _targets(file: Path) -> set[str]:
    return {target for group in _groups(file) for target in group["targets"]}


def _withdrawn(file: Path) -> set[str]:
    return _targets(_whole(file)) - _targets(file)


def _without(whole: Path, withdrawn: set[str]) -> str:
    """What the file says without these addresses; `[]` where nothing is left."""
    left = [{**group, "targets": [one for one in group["targets"] if one not in withdrawn]} for group in _groups(whole)]
    return yaml.safe_dump([group for group in left if group["targets"]], sort_keys=False)


def _replace(file: Path, text: str) -> None:
    new = file.with_name(file.name + _NEW)
    new.write_text(text, encoding="utf-8")
    new.replace(file)
