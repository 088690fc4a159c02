"""Somebody guesses passwords: log-ins that fail, several a second."""

from __future__ import annotations

import secrets

import aiohttp

from harness.drive.faults import LaneControl
from harness.drive.lasting import Deed, LastingFault, Turns
from harness.drive.look import LOOK_SECONDS, Look, answers
from harness.drive.tally import SUBJECT, Tally
from harness.errors import FaultError
from harness.model.stack import Address

FAILURES = 5
"""Half of the condition, ten failed log-ins within 10 s, which four a second reach a second later. `increase` carries
what it saw on to the edges of its window and may count ten before there were ten (an alert fired before its fault was
proven in a gate): the clock starts before that, so that a delivery is measured too long rather than too short."""
PAUSE_SECONDS = 0.25
"""Between two guesses. Each costs the application what a log-in costs it, also for a name that there is not: about 5 ms
of a core (scrypt), so 2 % of one."""
_LOGIN = "/api/auth/login"
_HEALTH = "/health"
_WRONG = 401
_NAMES = ("ada", "grace", "linus", "admin", "root", "test")
"""Some that there are and some that there are not."""


class LoginBurst(LastingFault):
    """`POST /api/auth/login` with wrong passwords, about four a second, until the fault is healed."""

    id = "login-burst"
    summary = "Somebody guesses passwords: about four log-ins a second fail until the fault is healed."
    component = SUBJECT
    what = "the log-in"
    done = "attacked"
    effect = f"the application has counted at least {FAILURES} failed log-ins"
    health = f"GET {_HEALTH} answers 200"
    looks_apart_seconds = 0.05

    def deed(self, control: LaneControl) -> Deed:
        """Guessing in one lane."""
        return _Guessing(self.address(control))

    async def well(self, control: LaneControl) -> Look:
        """The application lives; guesses leave nothing behind in it."""
        return await answers(self.address(control), _HEALTH)


class _Guessing:
    """Guesses, by turns; and what the application counted of it."""

    def __init__(self, subject: Address) -> None:
        self._subject = subject
        self._tally = Tally(subject)
        self._session: aiohttp.ClientSession | None = None
        self._turns: Turns | None = None

    async def begin(self) -> None:
        await self._tally.read()
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=LOOK_SECONDS))
        passing = (aiohttp.ClientError, OSError, FaultError)
        self._turns = Turns(self._guess, PAUSE_SECONDS, passing, "passwords guessed")

    async def _guess(self) -> None:
        assert self._session is not None
        guess = {"name": secrets.choice(_NAMES), "password": secrets.token_hex(8)}
        async with self._session.post(f"http://{self._subject}{_LOGIN}", json=guess) as response:
            if response.status != _WRONG:
                raise FaultError("A wrong password was not refused", expected=str(_WRONG), seen=str(response.status))

    async def look(self) -> Look:
        counted = await self._tally.read()
        if isinstance(counted, str):
            return Look(False, counted)
        failure = self._turns.failure if self._turns is not None else "it was not begun"
        return Look(
            counted.failed_logins >= FAILURES,
            f"the application counted {counted.failed_logins:.0f} failed log-ins since the first guess"
            + (f"; the last one failed: {failure}" if failure else ""),
        )

    async def end(self) -> None:
        if self._turns is not None:
            await self._turns.end()
        if self._session is not None:
            await self._session.close()
