"""The application holds ever more memory: a member uploads previews of images, which it keeps until they log out."""

from __future__ import annotations

import secrets

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from harness.drive.faults import LaneControl
from harness.drive.lasting import Deed, LastingFault
from harness.drive.look import Look
from harness.drive.tally import METRICS, SUBJECT, exposition
from harness.errors import FaultError
from harness.model.stack import Address

SHARE = 0.85
"""What is proven. The condition is 80 %: what a collection of garbage gives back leaves it true."""
_FILL_SHARE = 0.88
_HEALTHY_SHARE = 0.6
PREVIEW_BYTES = 1_000_000
"""The largest that the application takes."""
_MOST_PREVIEWS = 400
_REQUEST_SECONDS = 3.0
_MEMORY = "nodejs_memory_usage_bytes"


class HeapFilled(LastingFault):
    """`POST /api/previews` by a member of our own until 88 % of the heap's limit is held; logging out frees it."""

    id = "heap-filled"
    summary = "A member uploads previews until the application holds 88 % of the memory that it is meant to need."
    component = SUBJECT
    what = "the application's memory"
    done = "filled"
    effect = f"heapUsed is at least {SHARE:.0%} of heapTotal"
    health = f"heapUsed is less than {_HEALTHY_SHARE:.0%} of heapTotal"
    looks_apart_seconds = 0.1

    def deed(self, control: LaneControl) -> Deed:
        """Uploading in one lane."""
        return _Uploading(self.address(control))

    async def well(self, control: LaneControl) -> Look:
        """The application's own figures."""
        heap = await _heap(self.address(control))
        return Look(False, heap) if isinstance(heap, str) else Look(heap[0] < heap[1] * _HEALTHY_SHARE, _told(heap))


class _Uploading:
    """A member, what they uploaded, and how much memory the application holds."""

    def __init__(self, subject: Address) -> None:
        self._subject = subject
        self._session: aiohttp.ClientSession | None = None
        self._logged_in = False

    async def begin(self) -> None:
        # Sessions of IP addresses are kept too: all of this is on loopback.
        self._session = aiohttp.ClientSession(
            cookie_jar=aiohttp.CookieJar(unsafe=True), timeout=aiohttp.ClientTimeout(total=_REQUEST_SECONDS)
        )
        account = {"name": f"uploader-{secrets.token_hex(6)}", "password": secrets.token_hex(16)}
        await self._post("/api/auth/register", 201, json=account)
        await self._post("/api/auth/login", 200, json=account)
        self._logged_in = True
        preview, uploaded = bytes(PREVIEW_BYTES), 0
        while wanted := await self._wanted():
            if uploaded + wanted > _MOST_PREVIEWS:
                raise FaultError(
                    "The application does not fill with what is uploaded to it",
                    expected=f"{_FILL_SHARE:.0%} of its memory after {_MOST_PREVIEWS} previews at most",
                    seen=f"{uploaded} uploaded, {wanted} more wanted",
                )
            for _ in range(wanted):
                await self._post("/api/previews", 201, data=preview, headers={"Content-Type": "image/bmp"})
            uploaded += wanted

    async def look(self) -> Look:
        heap = await _heap(self._subject)
        return Look(False, heap) if isinstance(heap, str) else Look(heap[0] >= heap[1] * SHARE, _told(heap))

    async def end(self) -> None:
        if self._session is None:
            return
        if self._logged_in:
            await self._post("/api/auth/logout", 204)
            self._logged_in = False
        await self._session.close()
        self._session = None

    async def _wanted(self) -> int:
        """How many more previews make it full."""
        heap = await _heap(self._subject)
        if isinstance(heap, str):
            raise FaultError("The application does not say how much memory it holds", seen=heap)
        return max(0, -int(-(heap[1] * _FILL_SHARE - heap[0]) // PREVIEW_BYTES))

    async def _post(self, path: str, status: int, **body: object) -> None:
        assert self._session is not None
        try:
            async with self._session.post(f"http://{self._subject}{path}", **body) as response:  # type: ignore[arg-type]
                seen = response.status
        except (aiohttp.ClientError, OSError) as error:
            raise FaultError(
                f"The application did not answer POST {path}", seen=f"{type(error).__name__}: {error}"
            ) from error
        if seen != status:
            raise FaultError(f"POST {path} was not done", expected=str(status), seen=str(seen))


async def _heap(subject: Address) -> tuple[float, float] | str:
    """`heapUsed` and `heapTotal` in bytes; a sentence where they cannot be read."""
    read = await exposition(subject)
    if isinstance(read, str):
        return read
    try:
        heap = {
            sample.labels.get("type"): sample.value
            for family in text_string_to_metric_families(read.text)
            for sample in family.samples
            if sample.name == _MEMORY
        }
        return heap["heapUsed"], heap["heapTotal"]
    except (KeyError, ValueError):
        return f"{METRICS} has no {_MEMORY} that can be read"


def _told(heap: tuple[float, float]) -> str:
    used, total = heap
    return f"heapUsed is {used / 2**20:.1f} MiB of {total / 2**20:.0f} ({used / total:.0%})"
