"""The archive of a store: an index goes into a snapshot, and comes back on demand under another name.

Only indices that bear the run's mark are touched, by their whole names; its repository is a folder of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from harness.errors import StackError
from harness.model.logs import Snapshots
from harness.stack.search import Search
from harness.stack.search_setup import owners

PREFIX: Final = "archived-"
"""What stands before the name of an index that came back: no pattern of daily indices catches it."""


@dataclass(frozen=True, slots=True)
class Archive:
    """The archive of one run.

    Args:
        search: the store.
        policy: where snapshots go.
        run: whose indices these are; snapshots and the repository's folder carry it in their names.
    """

    search: Search
    policy: Snapshots
    run: str

    def snapshot_of(self, index: str) -> str:
        """What the snapshot of an index is called."""
        return f"{index}-{self.run.lower()}"

    async def put_away(self, index: str) -> None:
        """Takes a snapshot of an index; the index itself is left to who ages it out.

        Raises:
            StackError: it is not this run's, the repository is somebody else's, or not every shard was saved.
        """
        await self._own(index)
        await self._repository()
        done = await self.search.done(
            "PUT",
            f"/_snapshot/{self.policy.repository}/{self.snapshot_of(index)}?wait_for_completion=true",
            {"indices": index, "include_global_state": False},
            what=f"The store at {self.search.address} did not archive {index}",
        )
        _whole(done, index)

    async def bring_back(self, index: str) -> str:
        """Restores an index under another name, which is returned; it can be searched then.

        Raises:
            StackError: there is no such snapshot, that name is taken, or not every shard was restored.
        """
        name = f"{PREFIX}{index}"
        done = await self.search.done(
            "POST",
            f"/_snapshot/{self.policy.repository}/{self.snapshot_of(index)}/_restore?wait_for_completion=true",
            {
                "indices": index,
                "include_global_state": False,
                "rename_pattern": "(.+)",
                "rename_replacement": f"{PREFIX}$1",
            },
            what=f"The store at {self.search.address} did not bring {index} back",
        )
        _whole(done, index)
        await self.search.done("POST", f"/{name}/_refresh", what=f"The store did not refresh {name}")
        return name

    async def remove(self, index: str) -> None:
        """Takes away what this run has made of an index: itself, its copy that came back, and its snapshot.

        Raises:
            StackError: the store cannot be asked.
        """
        for name in (index, f"{PREFIX}{index}"):
            if (await owners(self.search, name)).get(name) == self.run:
                await self.search.ask("DELETE", f"/{name}")
        if await self._location() == self.run:
            await self.search.ask("DELETE", f"/_snapshot/{self.policy.repository}/{self.snapshot_of(index)}")

    async def _own(self, index: str) -> None:
        owner = (await owners(self.search, index)).get(index)
        if owner != self.run:
            raise StackError(
                f"The index {index} is not this run's: it is not archived",
                expected=f"the mark of the run {self.run}",
                seen="no such index" if owner is None else owner or "no mark",
            )

    async def _repository(self) -> None:
        """The repository of the policy's name, with a folder of the run's own in it."""
        there = await self._location()
        if there == self.run:
            return
        if there is not None:
            raise StackError(
                f"The repository {self.policy.repository} of {self.search.address} is not this run's",
                expected=f"none, or one in the folder {self.run}",
                seen=there or "another kind of repository",
                hint="nothing of it was touched; give the run a store of its own",
            )
        await self.search.done(
            "PUT",
            f"/_snapshot/{self.policy.repository}",
            {"type": "fs", "settings": {"location": self.run}},
            what=f"The store at {self.search.address} did not take the repository {self.policy.repository}",
        )

    async def _location(self) -> str | None:
        """Where the repository is, "" where it does not say; None where there is none."""
        reply = await self.search.ask("GET", f"/_snapshot/{self.policy.repository}")
        if reply.status == 404 or not isinstance(reply.body, dict):
            return None
        settings = reply.body.get(self.policy.repository, {}).get("settings", {})
        return str(settings.get("location", ""))


def _whole(done: Any, index: str) -> None:
    """A snapshot or a restore counts when every shard of it succeeded, and there is one.

    Raises:
        StackError: it did not.
    """
    try:
        shards = done["snapshot"]["shards"]
        whole = shards["failed"] == 0 and shards["successful"] == shards["total"] > 0
    except (KeyError, TypeError):
        whole = False
    if not whole:
        raise StackError(f"Not every shard of {index} was saved or restored", seen=str(done)[:200])
