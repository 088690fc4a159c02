"""The manifest of a writer."""

from __future__ import annotations

from pathlib import Path

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
