"""What every channel has: a name of its own, a receiver key, a terminal hop, a file, a page and tests by that name."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.model.hops import NEXT_PART, Hop
from harness.observe.channels import Channel, registry
from harness.observe.channels.registry import CHANNELS

ROOT = Path(__file__).parents[2]


def test_names_and_receiver_keys_are_their_own() -> None:
    """A message belongs to one channel, and so does an integration of `alertmanager.yml`."""
    assert len({channel.name for channel in CHANNELS}) == len(CHANNELS) >= 2
    assert len({channel.receiver_key for channel in CHANNELS}) == len(CHANNELS)


def test_every_channel_that_has_a_file_is_registered() -> None:
    """The tuple is explicit: nothing is found by being imported, and nothing is forgotten."""
    folder = Path(registry.__file__).parent
    shared = {"__init__", "registry", "webhook"}
    assert {path.stem for path in folder.glob("*.py")} - shared == {one.name for one in CHANNELS}


@pytest.mark.parametrize("channel", CHANNELS, ids=lambda channel: channel.name)
def test_a_channel_says_when_a_person_has_been_reached(channel: Channel) -> None:
    """Its terminal hop is one that a person notices; a trail that ends before it has somebody to blame."""
    assert channel.terminal_hop in {Hop.NOTIFIED, Hop.DISPLAYED}
    hops = list(Hop)
    assert all(hop in NEXT_PART for hop in hops[: hops.index(channel.terminal_hop)])
    assert channel.receiver_key.endswith("_configs")


@pytest.mark.parametrize("channel", CHANNELS, ids=lambda channel: channel.name)
def test_a_channel_has_its_page_and_its_tests(channel: Channel) -> None:
    """Under its own name."""
    assert (ROOT / "docs" / "channels" / f"{channel.name}.md").is_file()
    assert (ROOT / "tests" / "observe" / f"test_{channel.name}.py").is_file()
