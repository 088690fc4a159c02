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


def test_a_window_of_which_no_record_is_sure_does_not_count(tmp_path: Path) -> None:
    """A long fault at whose edges alone something was written is passed over for one with less in it, but surely."""
    edges, sure = (FaultWindow(name, "lane-01", BEGAN + at, BEGAN + at + 20) for name, at in (("a", 10), ("b", 50)))
    at = [BEGAN + 11.0] * 40 + [BEGAN + 29.5] * 40 + [BEGAN + 60.0] * 3
    records = [announced(record(each, "lane-01"), written, "lane-01") for each, written in enumerate(at)]
    write_manifest(tmp_path, records, "application.lane-01.1")
    told = Announcements(tmp_path, frozenset({"application"}), frozenset())
    assert told.busiest((edges, sure), since=BEGAN, until=BEGAN + 100, besides="") == sure
