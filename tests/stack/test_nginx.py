"""nginx: its configuration read and pointed at a lane, and a real one before a subject."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from aiohttp import ClientSession, web
from stack_doubles import HERE, policies, server, unit, until

from harness.errors import StackError
from harness.model.events import ComponentReady, Payload, Rewired
from harness.model.findings import Finding, Severity
from harness.model.policy import ComponentPolicy
from harness.model.stack import Address, Artifact
from harness.policy.parse.files import Folder
from harness.policy.parse.nginx import FILE, load
from harness.stack.components.nginx import Nginx
from harness.stack.guard import Guard
from harness.stack.layout import lay_out
from harness.stack.nginx_conf import Configured, Place, configured
from harness.stack.ports import Ports
from harness.stack.readiness import until_ready
from harness.stack.runtimes.process import ProcessRuntime
from harness.stack.site import Site
from harness.stack.stack import Stack

POLICIES = Path(__file__).parents[2] / "policies"
SHIPPED = (POLICIES / FILE).read_text(encoding="utf-8")
NGINX = ComponentPolicy(
    "nginx", "nginx", ("nginx:80",), unit('/usr/sbin/nginx -c /etc/nginx/nginx.conf -g "daemon off;"'), True, HERE
)
SUBJECT = Address("127.0.0.1", 5001)
NOWHERE = Address("127.0.0.1", 9)


def written(folder: Path, text: str, **others: str) -> Path:
    """A policies folder with this nginx.conf, and other files beside it."""
    for name, content in {"nginx.conf": text, **{f"{stem}.conf": said for stem, said in others.items()}}.items():
        path = folder / "nginx" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return folder / FILE


def pointed(folder: Path, text: str, **others: str) -> Configured:
    """What a lane's nginx gets of it."""
    place = Place(
        name="nginx",
        listen=Address("127.0.0.1", 8080),
        logs=folder / "logs",
        folder=folder,
        production={"community-platform:5000": SUBJECT, "shop:80": Address("127.0.0.1", 5002)},
        nowhere=NOWHERE,
    )
    return configured(written(folder, text, **others), FILE, place)


def read(folder: Path, *components: ComponentPolicy) -> tuple[tuple[str, ...], list[Finding]]:
    """The files that a policies folder's nginx.conf is made of, and what is wrong with them."""
    found: list[Finding] = []
    reading = Folder(folder)
    names = load(reading, components, found)
    return names, [*reading.findings, *found]


class TestReading:
    """nginx.conf in the policies folder."""

    def test_the_shipped_one_is_read_without_a_finding(self) -> None:
        """One file, every directive known."""
        assert read(POLICIES, NGINX) == ((FILE,), [])

    def test_none_is_a_mistake_only_where_an_nginx_runs(self, tmp_path: Path) -> None:
        """Without a component of that kind nobody asks for it."""
        (tmp_path / "other").touch()
        assert read(tmp_path) == ((), [])
        [finding] = read(tmp_path, NGINX)[1]
        assert (finding.id, finding.severity) == ("file/missing", Severity.ERROR)

    def test_what_it_includes_is_part_of_it(self, tmp_path: Path) -> None:
        """By name and by pattern, each file once."""
        written(
            tmp_path, "http {\n include site*.conf;\n include types.conf;\n}\n", site1="", types="types { a/b b; }\n"
        )
        assert read(tmp_path) == ((FILE, "nginx/site1.conf", "nginx/types.conf"), [])

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("http {\n  server {\n    listen 80\n  }\n}\n", '3:5: error: directive "listen" is not terminated by ";"'),
            ("http {\n  server {\n", "2:3: error: unexpected end of file, expecting \"}\""),
            ("events {}\n\n  proxi_pass http://a;\n", "3:3: warning: unknown directive 'proxi_pass'"),
            ("http {\n  listen 80;\n}\n", "2:3: error: \"listen\" directive is not allowed here"),
            ("http { include missing.conf; }\n", "1:1: error: "),
            ("http {\n  include /etc/nginx/mime.types;\n}\n", "2:3: error: '/etc/nginx/mime.types' leads out"),
            ("http {\n  include ../../../x/*.conf;\n}\n", "2:3: error: '../../../x/*.conf' leads out"),
            ("\udcff", "1:1: error: byte 0xff is not UTF-8"),
        ],
    )  # fmt: skip
    def test_what_cannot_work_is_a_finding_with_its_place(self, tmp_path: Path, text: str, told: str) -> None:
        """File, line and column, and a sentence; never a traceback."""
        written(tmp_path, "")
        (tmp_path / FILE).write_bytes(text.encode(errors="surrogateescape"))
        assert any(str(finding).startswith(f"{tmp_path / FILE}:{told}") for finding in read(tmp_path)[1])


class TestPointing:
    """The configuration of one lane's nginx."""

    def test_addresses_and_files_are_the_sandboxes(self, tmp_path: Path) -> None:
        """Where it listens, whom it asks, where it logs; nothing of production's is left, and each change is listed."""
        made = pointed(tmp_path, SHIPPED)
        assert "listen 127.0.0.1:8080 default_server;" in made.text
        assert f"server {SUBJECT} max_fails=0;" in made.text
        assert f"access_log {tmp_path}/logs/access.log record;" in made.text
        for gone in ("community-platform:5000", "/var/", "/run/", "www-data"):
            assert gone not in made.text
        assert {difference.path for difference in made.differences} == {
            "user", "worker_processes", "pid", "error_log", "http.upstream.server", "http.server.listen",
            "http.server.access_log",
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("target", "leads_to"),
        [
            ("http://community-platform:5000/app", f"http://{SUBJECT}/app"),
            ("http://shop", "http://127.0.0.1:5002"),
            ("http://pool/x", "http://pool/x"),
            ("http://example.org", f"http://{NOWHERE}"),
            ("http://community-platform:5001", f"http://{NOWHERE}"),
        ],
    )
    def test_a_wrong_address_stays_wrong(self, tmp_path: Path, target: str, leads_to: str) -> None:
        """What is of no component leads nowhere, and nothing leaves the machine; a group of servers keeps its name."""
        text = f"http {{ upstream pool {{ server shop; }} server {{ location / {{ proxy_pass {target}; }} }} }}"
        made = pointed(tmp_path, text).text
        assert f"proxy_pass {leads_to};" in made
        assert "server 127.0.0.1:5002;" in made

    def test_what_it_includes_stands_in_its_place(self, tmp_path: Path) -> None:
        """One file for a lane, whatever production has it made of."""
        made = pointed(tmp_path, "http { include site.conf; }", site="server { listen 8443; return 204; }\n")
        assert "include site" not in made.text
        assert "return 204;" in made.text

    def test_a_server_that_speaks_tls_alone_is_left_out(self, tmp_path: Path) -> None:
        """Of production's certificates there is none; a server without a port gets ours, one with two gets one."""
        text = (
            "http { server { listen 443 ssl; ssl_certificate /etc/x; return 201; }"
            " server { listen 80; listen 443 ssl; ssl_certificate_key /etc/y; return 202; } server { return 203; } }"
        )
        made = pointed(tmp_path, text).text
        assert [f"return {status};" in made for status in (201, 202, 203)] == [False, True, True]
        assert made.count("listen 127.0.0.1:8080") == 2
        assert "ssl" not in made

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("http { server { listen 443 ssl; } }", "no server of nginx can be reached"),
            ("http {", "nginx's configuration cannot be read"),
        ],
    )
    def test_what_cannot_be_pointed_is_a_sentence(self, tmp_path: Path, text: str, told: str) -> None:
        """Which file, and why."""
        with pytest.raises(StackError, match=told):
            pointed(tmp_path, text)


@asynccontextmanager
async def before(application: web.Application, cache: Path, artifact: Artifact) -> AsyncIterator[tuple[Address, Path]]:
    """A real nginx before an application: where it listens, and its access log."""
    ports = Ports()
    runner = web.AppRunner(application)
    await runner.setup()
    behind = ports.take()
    await web.TCPSite(runner, behind.host, behind.port, reuse_address=True).start()
    async with Guard.open(f"test-nginx-{os.getpid()}", cache) as guard:
        runtime = ProcessRuntime(guard)
        site = Site(
            run=guard.run, component=NGINX, lane="a", address=ports.take(), data=guard.sandbox / "nginx",
            log=guard.sandbox / "nginx.log", cache=cache, project=guard.sandbox, artifact=artifact,
            configuration=POLICIES / FILE, peers={"subject": behind},
            production={"community-platform:5000": behind}, nowhere=NOWHERE,
        )  # fmt: skip
        site.data.mkdir()
        await Nginx().prepare(site)
        await until_ready(Nginx(), site, await runtime.start(Nginx().launch(site)), 20)
        try:
            yield site.address, site.data / "logs" / "access.log"
        finally:
            await runtime.close()
            await runner.cleanup()
            ports.close()


def application(seen: list[Mapping[str, str]]) -> web.Application:
    """Something that answers, and keeps the headers that came."""

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.headers)
        return web.Response(status=int(request.query.get("status", "200")))

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", answer)
    return app


def records(log: Path) -> list[dict[str, Any]]:
    """The records of an access log; each is JSON."""
    return [json.loads(line) for line in log.read_bytes().splitlines()] if log.exists() else []


@pytest.mark.stack
async def test_every_request_leaves_one_record_that_says_who_it_is(
    cache: Path, artifacts: Mapping[str, Artifact]
) -> None:
    """By the client's header or, without a harmless one, by the request's own id, which the application gets too."""
    seen: list[Mapping[str, str]] = []
    judge = jsonschema_rs.validator_for(
        json.loads((POLICIES / "logs/nginx-access.schema.json").read_text()), validate_formats=True
    )
    async with before(application(seen), cache, artifacts["nginx"]) as (address, log), ClientSession() as client:
        for sequence, status in (("run/nginx-access.a.1/1", 200), ('a" b', 404), ("", 503)):
            path = f"http://{address}/api/posts?status={status}&secret=x"
            async with client.get(path, headers={"X-Record-Sequence": sequence, "User-Agent": 'a"b\\'}) as answer:
                assert answer.status == status
        async with client.get(f"http://{address}/health") as answer:
            assert answer.status == 200
        reader, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(b"no request at all\r\n\r\n")
        await reader.read()
        writer.close()
        await until(lambda: len(records(log)) == 4)
        first, *others, broken = records(log)
        for record in records(log):
            judge.validate(record)
        assert first["metadata"]["sequence"] == "run/nginx-access.a.1/1"
        for record in others:
            assert record["metadata"]["sequence"] == record["metadata"]["requestId"]
        asked = [headers for headers in seen if headers.get("User-Agent") == 'a"b\\']
        assert [headers["X-Request-ID"] for headers in asked] == [
            record["metadata"]["requestId"] for record in (first, *others)
        ]
        assert not any("X-Record-Sequence" in headers for headers in asked)
        told = [(record["level"], record["status"], record["path"]) for record in (first, *others)]
        assert told == [("INFO", 200, "/api/posts"), ("WARN", 404, "/api/posts"), ("ERROR", 503, "/api/posts")]
        assert broken["status"] == 400


@pytest.mark.stack
async def test_without_a_subject_it_is_not_ready(cache: Path, artifacts: Mapping[str, Artifact]) -> None:
    """The twin: it answers 502, and says so."""
    async with before(application([]), cache, artifacts["nginx"]) as (address, log):
        assert records(log) == []
    site = Site(
        run="r", component=NGINX, lane="a", address=address, data=log.parent, log=log, cache=cache, project=cache
    )
    assert "nobody listens" in str(await Nginx().ready(site))


@pytest.mark.stack
async def test_a_stack_with_it_comes_up(tmp_path: Path, cache: Path, artifacts: Mapping[str, Artifact]) -> None:
    """The subject, which waits for everybody, does not wait for who waits for it."""
    events: list[Payload] = []
    subject = replace(server("community-platform"), addresses=("community-platform:5000",))
    made = replace(policies(NGINX, subject, root=POLICIES), nginx_files=(FILE,))
    async with Guard.open(f"test-nginx-stack-{os.getpid()}", cache) as guard:
        layout = lay_out(
            made, artifacts, ("a",), run=guard.run, sandbox=guard.sandbox, logs=tmp_path, cache=cache,
        )  # fmt: skip
        async with Stack(layout, ProcessRuntime(guard), events.append) as stack:
            await stack.up({FILE: SHIPPED})
    assert {event.report.name for event in events if isinstance(event, ComponentReady)} == {
        "nginx", "community-platform",
    }  # fmt: skip
    changed = {event.difference.path for event in events if isinstance(event, Rewired)}
    assert {"http.server.listen", "ExecStart -c"} <= changed
