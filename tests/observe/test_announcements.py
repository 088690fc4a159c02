"""What an operator asks of an alert is asked of the time and the lane in which most was announced."""

from __future__ import annotations

from pathlib import Path

from record_sets import announced, record, write_manifest

from harness.model.audit import FaultWindow
from harness.observe.records.announcements import Announcements

BEGAN = 1_800_000_000.0


def busiest(folder: Path, seconds: float, *windows: FaultWindow) -> FaultWindow | None:
    """The busiest time of a run of 100 records in one lane and 50 in another, spread over so long."""
    for lane, count in (("lane-01", 50), ("lane-02", 100), ("searches", 200)):
        records = [announced(record(each, lane), BEGAN + each * seconds / count, lane) for each in range(count)]
        write_manifest(folder, records, f"application.{lane}.1")
    told = Announcements(folder, frozenset({"application"}), frozenset())
    return told.busiest(windows, since=BEGAN, until=BEGAN + seconds + 1, besides="searches")


def test_the_busiest_fault(tmp_path: Path) -> None:
    """The one with most records; neither one that is too short nor one of every lane nor one that did not end."""
    few = FaultWindow("a", "lane-01", BEGAN + 10, BEGAN + 50)
    many = FaultWindow("b", "lane-02", BEGAN + 10, BEGAN + 50)
    others = (
        FaultWindow("short", "lane-02", BEGAN + 10, BEGAN + 14),
        FaultWindow("wide", "", BEGAN, BEGAN + 90),
        FaultWindow("endless", "lane-02", BEGAN, float("inf")),
    )
    assert busiest(tmp_path, 100, few, many, *others) == many
    assert busiest(tmp_path, 100, few, *others) == few


def test_without_a_fault_the_middle_of_the_busiest_lane(tmp_path: Path) -> None:
    """All of a run that is too short for a middle; nothing where nothing was announced."""
    middle = busiest(tmp_path, 100)
    assert middle is not None
    assert (middle.lane, round(middle.from_at - BEGAN), round(middle.until_at - BEGAN)) == ("lane-02", 33, 66)
    short = busiest(tmp_path, 1)
    assert short is not None
    assert (round(short.from_at - BEGAN), round(short.until_at - BEGAN)) == (-6, 7)
    assert Announcements(tmp_path, frozenset(), frozenset()).busiest((), since=0, until=1e18, besides="") is None
