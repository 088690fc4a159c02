"""What a store is told before the first record comes: the team's ingest pipeline and index template, marked as a run's.

The mark stands in each index (`_meta` of its mapping), so that nobody ever deletes or fills what another made.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from harness.errors import StackError
from harness.model.logs import RUN_MARK
from harness.model.stack import Difference
from harness.policy.parse import elasticsearch
from harness.policy.parse.elasticsearch import PIPELINE, TEMPLATE
from harness.policy.parse.logstash_way import FILE as LOGSTASH
from harness.policy.translate.pipeline import WHY
from harness.stack.search import Search
from harness.stack.search_logstash import Rehearsal, rehearsal, rehearse
from harness.stack.site import Site

_MARKED = "each index says which run made it, and no other is ever touched"


@dataclass(frozen=True, slots=True)
class Orders:
    """What a store is to be told: the names and bodies of the template and of the pipeline, where there is one.

    `logstash` is the pipeline that logstash.conf was translated into, where the team has one.
    """

    name: str
    pattern: str
    template: Mapping[str, Any]
    pipeline: str
    pipeline_body: Mapping[str, Any] | None
    logstash: Rehearsal | None = None

    def marked(self, run: str) -> dict[str, Any]:
        """The template with the run's mark in every index that it makes."""
        body: dict[str, Any] = copy.deepcopy(dict(self.template))
        mappings = body.setdefault("template", {}).setdefault("mappings", {})
        mappings["_meta"] = {**mappings.get("_meta", {}), RUN_MARK: run}
        return body


async def install(site: Site) -> None:
    """Tells the store of a site what its copy of `elasticsearch/` says, again and again to the same effect.

    Raises:
        StackError: it is no store that this can be told, did not take it, holds indices of the pattern that this run
            did not make, or makes of records, by logstash.conf, what their schemas do not allow.
    """
    async with Search(site.address) as search:
        await search.product()
        if site.configuration is not None:
            await instruct(search, orders(site.configuration), site.run)


async def instruct(search: Search, told: Orders, run: str) -> None:
    """Installs pipeline and template, after a look whether the indices of the pattern are this run's.

    Raises:
        StackError: as `install`.
    """
    others = [
        f"{index} of {owner or 'somebody else'}"
        for index, owner in (await owners(search, told.pattern)).items()
        if owner != run
    ]
    if others:
        raise StackError(
            f"The store at {search.address} holds indices of {told.pattern} that this run did not make",
            expected=f"no index of {told.pattern}, or only such as bear the mark of the run {run}",
            seen=", ".join(others[:5]) + (f" and {len(others) - 5} more" if len(others) > 5 else ""),
            hint="nothing of it was touched; give the run a store of its own",
        )
    if told.pipeline and told.pipeline_body is not None:
        what = f"The store at {search.address} did not take the ingest pipeline {told.pipeline}"
        await search.done("PUT", f"/_ingest/pipeline/{told.pipeline}", told.pipeline_body, what=what)
    what = f"The store at {search.address} did not take the index template {told.name}"
    await search.done("PUT", f"/_index_template/{told.name}", told.marked(run), what=what)
    if told.logstash is not None:
        await rehearse(search, told.logstash)


async def owners(search: Search, pattern: str) -> dict[str, str]:
    """The run that made each index of a pattern; "" for one that bears no mark.

    Raises:
        StackError: it cannot be asked.
    """
    what = f"The store at {search.address} does not tell its indices"
    found = await search.done("GET", f"/{pattern}/_mapping?expand_wildcards=all&ignore_unavailable=true", what=what)
    return {index: _owner(body) for index, body in sorted(found.items())}


def orders(folder: Path) -> Orders:
    """What the files of a folder `elasticsearch/` say.

    Raises:
        StackError: they cannot be read; in a copy of policies that were loaded they can.
    """
    try:
        text = (folder / TEMPLATE).read_text(encoding="utf-8")
        pipeline = folder / PIPELINE
        body = orjson.loads(pipeline.read_bytes()) if pipeline.exists() else None
        found = elasticsearch.template(text, str(folder / TEMPLATE)).value
        template = orjson.loads(text)
    except (OSError, ValueError) as error:
        raise StackError(f"What the store is to be told cannot be read from {folder}", seen=str(error)) from error
    if found is None:
        raise StackError(
            f"{folder / TEMPLATE} is no index template of one pattern", expected="what `index_patterns` names"
        )
    then = found.pipeline if body is not None else ""
    piped = rehearsal(folder.parent, found.name, then=then)
    return Orders(found.name, found.pattern, template, found.pipeline, body, piped)


def differences(site: Site) -> tuple[Difference, ...]:
    """How what the store is told differs from the team's files."""
    if site.configuration is None:
        return ()
    file = f"{site.configuration.name}/{TEMPLATE}"
    marked = Difference(file, f"template.mappings._meta.{RUN_MARK}", "", site.run, _MARKED)
    if not (site.configuration.parent / LOGSTASH).exists():
        return (marked,)
    return (marked, Difference(LOGSTASH, "filter", "Logstash", "an ingest pipeline of the store", WHY))


def _owner(body: Any) -> str:
    mappings = body.get("mappings") if isinstance(body, dict) else None
    meta = mappings.get("_meta") if isinstance(mappings, dict) else None
    return str(meta.get(RUN_MARK, "")) if isinstance(meta, dict) else ""
