"""The manifest of a writer."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.model.records import announced_from
from harness.stack.manifest import Manifest


def test_what_is_announced_stands_in_the_file_at_once(tmp_path: Path) -> None:
    """No buffer between: a writer that dies now has announced it."""
    with Manifest(tmp_path, run="run", source="application", lane="lane-01") as manifest:
        name = manifest.next_identity()
        manifest.announce([manifest.announced(name, {"level": "INFO"}, {"level"}, level="INFO")])
        (line,) = (tmp_path / "application.lane-01.1.tsv").read_bytes().splitlines(keepends=True)
    read = announced_from(line)
    assert read is not None
    assert (read.identity, read.source, read.lane) == ("run/application.lane-01.1/1", "application", "lane-01")


def test_every_life_has_a_manifest_and_an_epoch_of_its_own(tmp_path: Path) -> None:
    """A writer that is started again counts from 1 again, under another epoch."""
    epochs = []
    for _ in range(2):
        with Manifest(tmp_path, run="run", source="application", lane="a") as manifest:
            epochs.append(manifest.next_identity())
    assert epochs == ["run/application.a.1/1", "run/application.a.2/1"]


def test_a_withdrawal_is_a_second_line_of_the_same_identity(tmp_path: Path) -> None:
    """It says that the record cannot have been written, and of whom."""
    with Manifest(tmp_path, run="run", source="nginx-access", lane="a") as manifest:
        name = manifest.next_identity()
        manifest.announce([manifest.announced(name, None, ())])
        manifest.withdraw(name)
        lines = (tmp_path / "nginx-access.a.1.tsv").read_bytes().splitlines(keepends=True)
    first, second = map(announced_from, lines)
    assert first is not None
    assert second is not None
    assert (first.identity, second.identity) == (name, name)
    assert (first.is_withdrawal, second.is_withdrawal) == (False, True)


def test_a_line_that_a_full_disk_has_cut_does_not_swallow_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a line announces nothing; what is announced after it stands in a line of its own."""
    real, room = os.write, [10, 0]

    def write(file: int, data: bytes) -> int:
        if not room:
            return real(file, data)
        if (left := room.pop(0)) == 0:
            raise OSError(28, "No space left on device")
        return real(file, data[:left])

    with Manifest(tmp_path, run="run", source="error", lane="a") as manifest:
        cut, whole = manifest.next_identity(), manifest.next_identity()
        monkeypatch.setattr(os, "write", write)
        with pytest.raises(OSError, match="No space"):
            manifest.announce([manifest.announced(cut, {}, ())])
        manifest.announce([manifest.announced(whole, {}, ())])
    lines = (tmp_path / "error.a.1.tsv").read_bytes().splitlines(keepends=True)
    read = [found.identity for found in map(announced_from, lines) if found is not None]
    assert read == [whole]
