"""What people do on the Community Platform, as load.

By hand, against one instance, with Locust's own page or without:

    locust -f loadtests/community.py --web-host 127.0.0.1 --host http://127.0.0.1:5000
    locust -f loadtests/community.py --host http://127.0.0.1:5000 --headless --users 5 --run-time 1m

Under the harness one process serves all lanes: TOCSIN_LANES is a JSON object of lane and base address, every user is
pinned to a lane, round robin, and every request is appended to the file TOCSIN_SAMPLES as a line of JSON. Locust's own
statistics are rounded to two digits and decide nothing. Where an nginx stands before the application, TOCSIN_MANIFESTS
names the folder in which every request is announced before it is sent, so that its access log can be held to account.

**Pace.** A user's requests have a timetable of their own: think times add up whether or not the application keeps up,
and a sample's time counts from the *intended* start. A server that stalls is then charged for everybody who would have
come meanwhile, and not for one slow answer. A user who is more than `LATEST_SECONDS` behind lets the missed requests
go, and each of them is a sample that says so.

**Mix.** Journeys, as often as they are in `HANDS`. Communities are read far more than written (the 90-9-1 rule of
thumb); here writing is overweight, so that within a rate window of 10 s every lane sees every kind of request that can
fail. Journeys are dealt, not drawn: each user plays one hand after the other, shuffled. Of the 90 requests of a window
the share of each kind is then that of the mix within some percent, and where one kind fails the error ratio says so and
not what chance dealt (reading comments is 15 % of all requests, with a standard deviation of 3 % if drawn).
"""

from __future__ import annotations

import json
import os
import random
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import cycle
from pathlib import Path
from typing import Any, Final

import gevent
from locust import FastHttpUser, constant, events, task
from locust.env import Environment

from harness.drive.load.announced import AnnouncedRequests

HANDS: Final = (
    # Six of ten: what nearly everybody does, and mostly they open what others said. Two of ten: the cheapest way to
    # take part, twice as common as starting something. One of ten each: a post of one's own, and logging out and in,
    # rare per visit, but the only path that costs a password's hash.
    ("read_on", "read_on", "read", "comment", "write"),
    ("read_on", "read_on", "read", "comment", "come_and_go"),
)

THINK_SECONDS: Final = 0.45
"""Mean think time, exponential: about 2.2 requests/s a user, so that 4 users give a lane more than 6/s. People take ten
times as long; one user stands for ten of them, because ten connections would cost more and prove nothing."""

LONGEST_THINK_SECONDS: Final = 2.0
LATEST_SECONDS: Final = 5.0
FLUSH_SECONDS: Final = 0.5


def read_lanes(environ: Mapping[str, str]) -> dict[str, str]:
    """Lanes and their base addresses from TOCSIN_LANES; none of them when it is not set."""
    text = environ.get("TOCSIN_LANES")
    if not text:
        return {}
    try:
        lanes = json.loads(text)
    except json.JSONDecodeError as error:
        sys.exit(f"TOCSIN_LANES is not JSON: {error}")
    if not isinstance(lanes, dict) or not lanes or not all(isinstance(address, str) for address in lanes.values()):
        sys.exit('TOCSIN_LANES is not an object of lane and base address, e.g. {"lane-01": "http://127.0.0.1:5000"}')
    return lanes


class Samples:
    """Raw samples, appended as lines of JSON: buffered, and complete lines only reach the file.

    Without a path nothing is kept.
    """

    def __init__(self, path: str | None) -> None:
        self._lines: list[bytes] = []
        self._file: int | None = None
        if path:
            try:
                self._file = os.open(Path(path), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            except OSError as error:
                sys.exit(f"TOCSIN_SAMPLES cannot be written: {error}")

    def note(
        self, *, lane: str, method: str, name: str, intended: float, started: float, status: int, error: str | None
    ) -> None:
        """Notes a request that ended now; `intended` and `started` are readings of the monotonic clock."""
        if self._file is None:
            return
        now = time.monotonic()
        to_wall = time.time() - now
        sample = {
            "intended_at": round(intended + to_wall, 6),
            "started_at": round(started + to_wall, 6),
            "seconds": round(now - intended, 6),
            "lane": lane,
            "method": method,
            "name": name,
            "status": status,
            "error": error,
        }
        self._lines.append(json.dumps(sample, separators=(",", ":")).encode() + b"\n")

    def flush(self) -> None:
        """Writes what is buffered.

        Raises:
            OSError: it cannot be written.
        """
        if self._file is None or not self._lines:
            return
        data, self._lines = b"".join(self._lines), []
        while data:
            data = data[os.write(self._file, data) :]

    def keep_flushing(self, environment: Environment) -> None:
        """Flushes until the process ends; load without samples is worth nothing, so a full disk ends it."""
        while True:
            gevent.sleep(FLUSH_SECONDS)
            try:
                self.flush()
            except OSError as error:
                print(f"Samples cannot be written: {error}", file=sys.stderr)  # noqa: T201  # a process of its own
                environment.process_exit_code = 1
                if environment.runner is not None:
                    environment.runner.quit()
                return


def read_announcing(environ: Mapping[str, str]) -> AnnouncedRequests:
    """Where requests are announced, from TOCSIN_MANIFESTS and TOCSIN_RUN_ID."""
    try:
        return AnnouncedRequests.from_environment(environ)
    except ValueError as error:
        sys.exit(str(error))


LANES: Final = read_lanes(os.environ)
REQUESTS: Final = read_announcing(os.environ)
SAMPLES: Final = Samples(os.environ.get("TOCSIN_SAMPLES"))
_PLACES: Final[Iterator[tuple[str, str]]] = cycle(LANES.items())


def _start_flushing(environment: Environment, **_: Any) -> None:
    gevent.spawn(SAMPLES.keep_flushing, environment)


def _flush_the_rest(**_: Any) -> None:
    SAMPLES.flush()


events.init.add_listener(_start_flushing)  # type: ignore[no-untyped-call]
events.quit.add_listener(_flush_the_rest)  # type: ignore[no-untyped-call]


class Member(FastHttpUser):
    """Somebody with an account, who reads most of the time.

    Whatever the application answers, or does not, is a sample and never ends a user: a list that did not load is tried
    again with the next journey, a session that was lost is replaced by logging in.
    """

    wait_time = constant(0)  # the timetable in `step` is the pace
    connection_timeout = 2.0
    network_timeout = 5.0
    max_retries = 0  # what was sent twice would be two records of one name, and a sample of both

    def __init__(self, environment: Environment) -> None:
        self.lane = "by-hand"
        if LANES:
            self.lane, self.host = next(_PLACES)
        super().__init__(environment)
        self.name = f"m-{secrets.token_hex(8)}"
        self.password = secrets.token_urlsafe(12)
        self.registered = False
        self.logged_in = False
        self._dealt = deal()
        self._intended = time.monotonic()

    def on_start(self) -> None:
        """Creates the account and logs in."""
        self._intended = time.monotonic()
        self.signed_in()

    @task
    def visit(self) -> None:
        """The next journey that was dealt."""
        journey: Callable[[], None] = getattr(self, next(self._dealt))
        journey()

    def read(self) -> None:
        """Opens the list, and a post."""
        self.open_post()

    def read_on(self) -> None:
        """Opens the list, a post, and its comments."""
        post = self.open_post()
        if post is not None:
            self.step("GET", f"/api/posts/{post}/comments", "/api/posts/{id}/comments")

    def comment(self) -> None:
        """Reads a post and answers."""
        post = self.open_post() if self.signed_in() else None
        if post is not None:
            body = {"body": "I see it the same way."}
            self.step("POST", f"/api/posts/{post}/comments", "/api/posts/{id}/comments", body)

    def write(self) -> None:
        """Writes a post and looks at it."""
        if not self.signed_in():
            return
        _, answer = self.step("POST", "/api/posts", "/api/posts", {"title": "A question", "body": "How do you do it?"})
        post = answer.get("id")
        if isinstance(post, int):
            self.step("GET", f"/api/posts/{post}", "/api/posts/{id}")

    def come_and_go(self) -> None:
        """Logs out, and in again."""
        if self.logged_in:
            self.step("POST", "/api/auth/logout", "/api/auth/logout")
            self.logged_in = False
        self.signed_in()

    def open_post(self) -> int | None:
        """Opens the list and one of its posts, the newest most often; None when there is no list."""
        _, answer = self.step("GET", "/api/posts", "/api/posts")
        posts = answer.get("posts")
        if not isinstance(posts, list) or not posts:
            return None
        post = posts[min(int(random.expovariate(0.5)), len(posts) - 1)]
        number = post.get("id") if isinstance(post, dict) else None
        if not isinstance(number, int):
            return None
        self.step("GET", f"/api/posts/{number}", "/api/posts/{id}")
        return number

    def signed_in(self) -> bool:
        """Whether there is a session, after an attempt to get one where there was none."""
        account = {"name": self.name, "password": self.password}
        if not self.registered:
            status, _ = self.step("POST", "/api/auth/register", "/api/auth/register", account)
            # Taken means by us: the answer to an earlier attempt was lost.
            self.registered = status in {201, 409}
        if self.registered and not self.logged_in:
            status, _ = self.step("POST", "/api/auth/login", "/api/auth/login", account)
            self.logged_in = status == 200
            # The account is gone: the database was restored, or is another one.
            self.registered = status != 401
        return self.logged_in

    def step(self, method: str, path: str, name: str, body: dict[str, str] | None = None) -> tuple[int, dict[str, Any]]:
        """The next request of the timetable: its status (0 without an answer) and the JSON object that came."""
        self._intended += min(random.expovariate(1 / THINK_SECONDS), LONGEST_THINK_SECONDS)
        while (behind := time.monotonic() - self._intended) > LATEST_SECONDS:
            SAMPLES.note(
                lane=self.lane, method=method, name=name, intended=self._intended, started=time.monotonic(), status=0,
                error=f"NotSent: {behind:.1f} s behind",
            )  # fmt: skip
            self._intended += THINK_SECONDS
        if behind < 0:
            gevent.sleep(-behind)
        started = time.monotonic()
        status, error, content = self.ask(method, path, name, body)
        SAMPLES.note(
            lane=self.lane, method=method, name=name, intended=self._intended, started=started, status=status,
            error=error,
        )  # fmt: skip
        if status == 401:
            self.logged_in = False
        return status, _object(content)

    def ask(
        self, method: str, path: str, name: str, body: dict[str, str] | None
    ) -> tuple[int, str | None, bytes | str | None]:
        """Sends a request, announced where that is asked for: its status, what went wrong, its answer's content.

        One that cannot be announced (a full disk) is not sent.
        """
        try:
            with REQUESTS.request(self.lane) as request:
                response = self.client.request(method, path, name=name, json=body, headers=request.headers)
                status, failure = int(response.status_code or 0), getattr(response, "error", None)
                request.ended(status, failure)
        except OSError as error:
            return 0, f"NotAnnounced: {error.strerror}", None
        return status, _error(status, failure), response.content


def deal() -> Iterator[str]:
    """One shuffled hand of journeys after the other, for ever; users begin with different ones."""
    hands = list(HANDS)
    random.shuffle(hands)
    for hand in cycle(hands):
        yield from random.sample(hand, len(hand))


def _error(status: int, exception: object) -> str | None:
    if 200 <= status < 400:
        return None
    if status:
        return f"HTTP {status}"
    return type(exception).__name__ if exception is not None else "NoAnswer"


def _object(content: bytes | str | None) -> dict[str, Any]:
    try:
        answer = json.loads(content or b"{}")
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}
