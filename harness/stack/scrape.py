"""What Prometheus says of its own targets, read out of its API."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from harness.errors import StackError
from harness.model.stack import Address


@dataclass(frozen=True, slots=True)
class Target:
    """A target as Prometheus sees it; `error` is what its last scrape failed of."""

    pool: str
    url: str
    up: bool
    error: str

    def is_at(self, address: Address) -> bool:
        """Whether it is scraped at that address."""
        return urlsplit(self.url).netloc == str(address)

    def __str__(self) -> str:
        return f"{self.pool} at {self.url}: {self.error or ('up' if self.up else 'not scraped yet')}"


def read_targets(body: object) -> tuple[Target, ...]:
    """`GET /api/v1/targets`."""
    return tuple(
        Target(
            pool=_text(item, "scrapePool"),
            url=_text(item, "scrapeUrl"),
            up=_text(item, "health") == "up",
            error=_text(item, "lastError"),
        )
        for item in _items(_within(body, "data", "activeTargets"))
    )


def read_pools(body: object) -> tuple[str, ...]:
    """`GET /api/v1/scrape_pools`: the name of every scrape job."""
    return tuple(str(name) for name in _items(_within(body, "data", "scrapePools")))


def read_alertmanagers(found: object, configuration: object) -> tuple[int, bool]:
    """`GET /api/v1/alertmanagers` and `/api/v1/status/config`: how many there are, and whether there should be any."""
    text = _text(_within(configuration, "data"), "yaml")
    # Prometheus writes its configuration in its own normal form, so the key has one indentation.
    return len(_items(_within(found, "data", "activeAlertmanagers"))), "\n  alertmanagers:\n" in f"\n{text}"


def _within(body: object, *keys: str) -> object:
    for key in keys:
        if not isinstance(body, dict) or key not in body:
            raise StackError("Prometheus answers in a form that we do not know", expected=f"a member {key}")
        body = body[key]
    return body


def _items(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _text(item: object, key: str) -> str:
    value = item.get(key, "") if isinstance(item, dict) else ""
    return value if isinstance(value, str) else ""
