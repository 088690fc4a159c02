"""Ageing out: the indices of a policy that hold nothing younger than it keeps are deleted, if the run made them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from harness.model.logs import Retention
from harness.model.stack import Address
from harness.stack.search import Credentials, Search
from harness.stack.search_setup import owners


@dataclass(frozen=True, slots=True)
class AgedOut:
    """What became of the indices of a policy's pattern, each by name.

    Args:
        deleted: too old, and gone.
        kept: the run's own that are young enough, or whose name holds no day.
        foreign: made by somebody else: never touched, however old.
    """

    deleted: tuple[str, ...]
    kept: tuple[str, ...]
    foreign: tuple[str, ...]


async def age_out(
    address: Address, policy: Retention, now: datetime, *, run: str, credentials: Credentials | None = None
) -> AgedOut:
    """Deletes the indices whose last record is older than the policy keeps, at `now` (aware).

    Args:
        address: the store.
        policy: which indices, and how long they are kept.
        now: the instant that ages are counted to.
        run: who asks: indices that bear another mark, or none, are not this run's.
        credentials: where the store wants to know who asks.

    Raises:
        StackError: the store cannot be asked, or did not delete an index.
    """
    deleted, kept, foreign = [], [], []
    async with Search(address, credentials=credentials) as search:
        for index, owner in (await owners(search, policy.pattern)).items():
            if owner != run:
                foreign.append(index)
            elif policy.is_over(index, now):
                # By its whole name: no pattern is ever deleted.
                await search.done("DELETE", f"/{index}", what=f"The store at {address} did not delete {index}")
                deleted.append(index)
            else:
                kept.append(index)
    return AgedOut(tuple(deleted), tuple(kept), tuple(foreign))
