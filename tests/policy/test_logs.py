"""filebeat.yml and `elasticsearch/`: read with places, held together, and pointed at the sandbox."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from policy_folders import KINDS, LANES, SHIPPED, loaded, sandbox

from harness.errors import PolicyError
from harness.model.findings import Finding, Severity
from harness.model.logs import Retention, writer_of
from harness.model.policy import ComponentPolicy
from harness.model.source import Span
from harness.model.stack import Address, Sandbox
from harness.policy.parse import elasticsearch, filebeat
from harness.policy.parse.policies import Loaded, load
from harness.policy.rewire.rewiring import rewire

FILEBEAT = (SHIPPED / "filebeat.yml").read_text(encoding="utf-8")
HERE = Span("stack.yaml", 1, 1, 1, 1)
STORE = Address("127.0.0.1", 19200)
ITSELF = Address("127.0.0.1", 15066)
PARTS = (
    {"name": "elasticsearch", "kind": "elasticsearch", "addresses": ["elasticsearch:9200"]},
    {"name": "filebeat", "kind": "filebeat", "addresses": ["filebeat:5066"]},
)


def text(name: str) -> str:
    """One of the shipped files of the folder `elasticsearch/`."""
    return (SHIPPED / "elasticsearch" / name).read_text(encoding="utf-8")


def by_id(findings: tuple[Finding, ...]) -> dict[str, Finding]:
    """Findings by id."""
    return {finding.id: finding for finding in findings}


def folder(to: Path, edits: Mapping[str, tuple[str, str] | None] | None = None) -> Path:
    """The shipped policies, with a store and a shipper; an edit replaces a text or (None) removes a file."""
    root = to / "policies"
    shutil.copytree(SHIPPED, root)
    document = yaml.safe_load((root / "stack.yaml").read_text())
    known = {one["name"] for one in document["components"]}
    document["components"] += [part for part in PARTS if part["name"] not in known]
    (root / "stack.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    for name, edit in (edits or {}).items():
        if edit is None:
            (root / name).unlink()
            continue
        before = (root / name).read_text()
        assert edit[0] in before, f"{name} does not contain {edit[0]!r}"
        (root / name).write_text(before.replace(*edit))
    return root


def ours(root: Path) -> Loaded:
    """A folder with a store and a shipper, loaded."""
    from policy_folders import CHANNELS, FAULTS

    return load(root, faults=FAULTS, channels=CHANNELS, components=KINDS | {"nginx", "emitter"})


def with_logs() -> Sandbox:
    """A sandbox that has a store, a Filebeat, and folders of logs."""
    made = sandbox()
    production = {
        **made.production,
        "elasticsearch:9200": {"": STORE},
        "filebeat:5066": {"": ITSELF},
    }
    logs = {
        "community-platform": {lane: f"/run/community-platform.{lane}/logs" for lane in LANES},
        "nginx": {lane: f"/run/nginx.{lane}/logs" for lane in LANES},
        "system": {"": "/run/system/logs"},
    }
    return dataclasses.replace(made, production=production, logs=logs)


def copied(tmp_path: Path, edits: Mapping[str, tuple[str, str] | None] | None = None) -> dict[str, Any]:
    """The rewired filebeat.yml of a folder."""
    found: dict[str, Any] = yaml.safe_load(
        rewire(ours(folder(tmp_path, edits)).policies, with_logs()).files["filebeat.yml"]
    )
    return found


class TestParsing:
    """What the files say, and every mistake in them where it stands."""

    def test_the_shipped_files_say_what_is_shipped_and_kept(self) -> None:
        """Inputs, the store, the index, the identity of records, 90 days; and nothing to complain of.

        Only a path whose writer is not among the components (yet) is told, and that Logstash is passed by.
        """
        found = loaded()
        files = ("filebeat.yml", "elasticsearch")
        told = [one for one in found.findings if any(name in one.span.file for name in files)]
        assert {one.id for one in told} <= {"filebeat/unknown-writer"}
        logs = found.policies.logs
        assert logs is not None
        assert [one.writers for one in logs.inputs] == [
            ("community-platform",),
            ("community-platform",),
            ("nginx",),
            ("system",),
        ]
        assert (logs.hosts, logs.index) == (("elasticsearch:9200",), "community-platform-%{+yyyy.MM.dd}")
        search = logs.search
        assert search is not None
        assert (search.name, search.pattern, search.pipeline) == (
            "community-platform",
            "community-platform-*",
            "community-platform",
        )
        assert search.refresh == timedelta(seconds=2)
        assert search.retention is not None
        assert search.retention.keep_days == 90
        assert search.snapshots is not None
        assert {"filebeat.yml", search.template_file, search.pipeline_file} <= set(found.policies.documents)

    def test_a_folder_without_filebeat_is_whole(self, tmp_path: Path) -> None:
        """Logs are optional; a shipper that runs and has nothing to read is told."""
        root = folder(tmp_path, {"filebeat.yml": None})
        with pytest.raises(PolicyError, match=r"there is no filebeat\.yml"):
            ours(root)
        document = yaml.safe_load((root / "stack.yaml").read_text())
        document["components"] = [one for one in document["components"] if one["kind"] != "filebeat"]
        (root / "stack.yaml").write_text(yaml.safe_dump(document))
        assert ours(root).policies.logs is None

    @pytest.mark.parametrize(
        ("before", "after", "ident", "line"),
        [
            ("output.elasticsearch:", "output.logstash:", "filebeat/output", "output.logstash:"),
            ("    exclude_files:", "    exclude_file:", "filebeat/unknown-setting", "    exclude_file:"),
            ("access.log*", "error.log*", None, ""),
            ("nginx/access.log*", "community-platform/error.log*", "filebeat/read-twice", "-platform/error.log*"),
            ('    paths: ["/var/log/system/*.log*"]\n', "", "filebeat/no-path", "  - type: log"),
            ("  - type: log\n    paths: [\"/var/log/nginx", "  - type: syslog\n    paths: [\"/var/log/nginx",
             "filebeat/unknown-input", "type: syslog"),
            ("target_field: '@metadata._id'", "target_field: other", "filebeat/no-identity", ""),
            ('  hosts: ["http://elasticsearch:9200"]\n', "", "filebeat/no-host", "output.elasticsearch:"),
            ("filebeat.inputs:", "filebeat.input:", "filebeat/no-input", ""),
            ("queue.mem:", "filebeat.modules: [{module: nginx}]\nqueue.mem:", "filebeat/elsewhere", "filebeat.modules"),
            ("queue.mem:", "queue.mem: [", "yaml/syntax", ""),
        ],
    )  # fmt: skip
    def test_mistakes_have_a_place(self, before: str, after: str, ident: str | None, line: str) -> None:
        """Each is a finding with file, line and column; what is no mistake is none."""
        assert before in FILEBEAT
        changed = FILEBEAT.replace(before, after)
        found = filebeat.parse(changed, "filebeat.yml").findings
        if ident is None:
            assert found == ()
            return
        finding = by_id(found)[ident] if not ident.startswith("yaml") else found[0]
        assert finding.span.file == "filebeat.yml"
        assert line in changed.splitlines()[finding.span.line - 1]

    def test_settings_may_be_split_in_any_way(self) -> None:
        """`output.elasticsearch.hosts` nested, dotted or mixed is the same setting."""
        for written in (
            "output: {elasticsearch: {hosts: [es:1]}}",
            "output.elasticsearch.hosts: es:1",
            "output: {elasticsearch.hosts: [es:1]}",
        ):
            config = filebeat.parse(
                f"filebeat: {{inputs: [{{type: log, paths: [/var/log/a/b]}}]}}\n{written}", "f"
            ).value
            assert (config.addresses, len(config.inputs)) == (("es:1",), 1)

    @pytest.mark.parametrize(
        ("host", "address"),
        [
            ("elasticsearch:9200", "elasticsearch:9200"),
            ("https://u:p@elasticsearch/path", "elasticsearch:9200"),
            ("elasticsearch", "elasticsearch:9200"),
            ("http://elasticsearch:x", "elasticsearch:9200"),
        ],
    )
    def test_hosts_are_read_as_filebeat_reads_them(self, host: str, address: str) -> None:
        """With or without scheme and port."""
        assert filebeat.address_of(host) == address

    def test_who_writes_a_path(self) -> None:
        """The folder below /var/log is the component's."""
        assert writer_of("/var/log/nginx/access.log") == "nginx"
        assert writer_of("/var/log/syslog") == ""
        assert writer_of("/srv/app/app.log") == ""


BROKEN = [
    ("index-template.json", '"priority": 200,', '"priority": 200,,', "not-json", "200,,"),
    ("index-template.json", '["community-platform-*"]', '["*"]', "pattern", "index_patterns"),
    ("index-template.json", '["community-platform-*"]', '["other-*"]', "index", "index:"),
    ("index-template.json", '      "index.default_pipeline": "community-platform",\n', "", "no-pipeline", ""),
    ("index-template.json", '"sequence": {"type": "keyword"', '"sequence": {"type": "text"', "identity", '"text"'),
    ("index-template.json", '"refresh_interval": "2s"', '"refresh_interval": "-1"', "refresh", '"-1"'),
    ("index-template.json", '"index.refresh_interval": "2s"', '"index.refresh_interval": "soon"', "duration", "soon"),
    ("ingest-pipeline.json", '"event.ingested"', '"event.taken"', "no-ingested", "processors"),
    ("retention.json", '"keep_days": 90', '"keep_days": "90"', "value", "keep_days"),
    ("retention.json", '"keep_days"', '"keep_day"', "unknown-key", "keep_day"),
    ("retention.json", "community-platform-*", "community-*", "pattern", "keep_days"),
    ("lifecycle-ilm.json", '"91d"', '"30d"', "disagrees", '"30d"'),
    ("lifecycle-ilm.json", '"91d"', '"ninety"', "duration", "ninety"),
    ("lifecycle-ism.json", '"91d"', '"2184m"', "disagrees", '"2184m"'),
    ("lifecycle-ism.json", '[{"delete": {}}]', "[]", "never-deletes", ""),
    ("snapshot.json", '  "repository": "community-platform",\n', "", "missing-key", ""),
]


class TestTheStore:
    """The folder `elasticsearch/`, each file and all of them together."""

    @pytest.mark.parametrize(("name", "before", "after", "ident", "line"), BROKEN)
    def test_mistakes_have_a_place(
        self, tmp_path: Path, name: str, before: str, after: str, ident: str, line: str
    ) -> None:
        """Each is an error at its file, line and column; policies with it are refused."""
        before = before if before in text(name) else f'"index.{before[1:]}'
        after = (
            after if before in text(name) and not before.startswith('"index.r') else after.replace('"r', '"index.r', 1)
        )
        root = folder(tmp_path, {f"elasticsearch/{name}": (before, after)})
        with pytest.raises(PolicyError) as refused:
            ours(root)
        [finding] = [one for one in refused.value.findings if one.id.split("/")[1] == ident]
        assert finding.severity is Severity.ERROR
        written = Path(finding.span.file).read_text().splitlines()[finding.span.line - 1]
        assert line in written
        assert str(finding).startswith(f"{finding.span.file}:{finding.span.line}:{finding.span.column}: error: ")

    def test_what_is_missing_is_told(self, tmp_path: Path) -> None:
        """Without a template nothing is judged of logs, which is a warning; a pipeline that is named must be there."""
        found = ours(folder(tmp_path / "a", {"elasticsearch/index-template.json": None}))
        assert [one.severity for one in found.findings if "index-template" in one.summary] == [Severity.WARNING]
        assert found.policies.logs is not None
        assert found.policies.logs.search is None
        with pytest.raises(PolicyError, match=r"there is no elasticsearch/ingest-pipeline\.json"):
            ours(folder(tmp_path / "b", {"elasticsearch/ingest-pipeline.json": None}))

    def test_writing_without_waiting_for_the_disk_is_told(self) -> None:
        """A translog that is written later loses what was acknowledged."""
        changed = text("index-template.json").replace('"request"', '"async"')
        assert [one.id for one in elasticsearch.template(changed, "t").findings] == ["elasticsearch/durability"]

    @pytest.mark.parametrize(
        "broken", ["", "[]", "{", "nul", '{"a": NaN}', "{" * 5000, '{"index_patterns": 1}', "\x00"]
    )
    def test_anything_is_read_without_a_traceback(self, broken: str) -> None:
        """What is no JSON, or no object, is a finding in each of the files."""
        kept = Retention("a-*", "yyyy.MM.dd", 90, HERE)
        for findings in (
            elasticsearch.template(broken, "f").findings,
            elasticsearch.pipeline(broken, "f").findings,
            elasticsearch.retention(broken, "f").findings,
            elasticsearch.snapshot(broken, "f").findings,
            elasticsearch.lifecycle(broken, "f", kept).findings,
        ):
            assert findings
            assert all(one.span.file == "f" for one in findings)

    def test_an_index_is_over_when_its_last_record_is(self) -> None:
        """A day's index is kept until its last record is as old as the policy keeps; other names are never over."""
        kept = Retention("community-platform-*", "yyyy.MM.dd", 90, HERE)
        index = kept.index_of(date(2026, 8, 31))
        assert index == "community-platform-2026.08.31"
        assert not kept.is_over(index, datetime(2026, 11, 29, 23, 59, 59, tzinfo=UTC))
        assert kept.is_over(index, datetime(2026, 11, 30, tzinfo=UTC))
        late = datetime(2099, 1, 1, tzinfo=UTC)
        for name in ("community-platform-2026.13.45", "community-platform-", "other-2026.08.31", f"{index}-x"):
            assert kept.day_of(name) is None
            assert not kept.is_over(name, late)


class TestRewiring:
    """One Filebeat for all lanes, and nothing that leaves the machine."""

    def test_inputs_are_multiplied_over_the_lanes(self, tmp_path: Path) -> None:
        """Per-lane logs once for each lane, with the lane as environment; shared ones once; the rest as it was."""
        document = copied(tmp_path)
        read = [
            (one["paths"], one["fields"]["environment"], one["fields"]["log"]) for one in document["filebeat.inputs"]
        ]
        assert read == [
            *(([f"/run/community-platform.{lane}/logs/application.log*"], lane, "application") for lane in LANES),
            *(([f"/run/community-platform.{lane}/logs/error.log*"], lane, "error") for lane in LANES),
            *(([f"/run/nginx.{lane}/logs/access.log*"], lane, "nginx-access") for lane in LANES),
            (["/run/system/logs/*.log*"], "shared", "system"),
        ]
        original = yaml.safe_load(FILEBEAT)
        assert document["processors"] == original["processors"]
        assert document["output.elasticsearch"] == {
            **original["output.elasticsearch"],
            "hosts": [f"http://{STORE}"],
        }
        assert document["http"] == {"enabled": True, "host": ITSELF.host, "port": str(ITSELF.port)}
        assert document["seccomp.enabled"] is False

    def test_every_difference_is_listed(self, tmp_path: Path) -> None:
        """Each path, each environment, the host, with the reason."""
        made = rewire(ours(folder(tmp_path)).policies, with_logs())
        listed = {(one.path, one.before, one.after) for one in made.differences if one.file == "filebeat.yml"}
        for lane in LANES:
            path = "/var/log/nginx/access.log*"
            assert ("filebeat.inputs[2].paths", path, f"/run/nginx.{lane}/logs/access.log*") in listed
            assert ("filebeat.inputs[2].fields.environment", "production", lane) in listed
        assert ("output.elasticsearch.hosts", "http://elasticsearch:9200", f"http://{STORE}") in listed
        assert ("seccomp.enabled", "(nothing)", "false") in listed

    def test_a_path_of_nobody_is_a_finding_and_not_read(self, tmp_path: Path) -> None:
        """A file of this machine is never read; what is not in the copy is told, when loaded and when copied."""
        edit = ('["/var/log/nginx/access.log*"]', '["/var/log/syslog", "/var/log/ngnix/a.log", "/srv/*.log"]')
        found = ours(folder(tmp_path, {"filebeat.yml": edit}))
        told = [one for one in found.findings if one.id == "filebeat/unknown-writer" and "system" not in one.summary]
        assert [one.subject.name for one in told if one.subject] == [
            "/var/log/syslog",
            "/var/log/ngnix/a.log",
            "/srv/*.log",
        ]
        made = rewire(found.policies, with_logs())
        assert len([one for one in made.findings if one.id == "rewire/left-out"]) == 3
        paths = [path for one in yaml.safe_load(made.files["filebeat.yml"])["filebeat.inputs"] for path in one["paths"]]
        assert all(path.startswith("/run/") for path in paths)
        assert not [path for path in paths if "nginx" in path]

    def test_nothing_leaves_the_machine(self, tmp_path: Path) -> None:
        """Other outputs, the cloud, credentials and hosts of nobody are taken out; passwords are not told."""
        edit = (
            'output.elasticsearch:\n  hosts: ["http://elasticsearch:9200"]\n',
            """cloud.id: x
monitoring: {enabled: true}
output.console.pretty: true
output.elasticsearch:
  hosts: ["https://logs.example.com"]
  username: u
  password: hunter2
  ssl.enabled: true
""",
        )
        made = rewire(ours(folder(tmp_path, {"filebeat.yml": edit})).policies, with_logs())
        document = yaml.safe_load(made.files["filebeat.yml"])
        assert document["output.elasticsearch"]["hosts"] == ["http://127.0.0.1:9"]
        assert not {"cloud.id", "monitoring", "output.console.pretty"} & set(document)
        assert not {"username", "password", "ssl.enabled"} & set(document["output.elasticsearch"])
        assert "hunter2" not in repr(made)
        assert any(one.path == "output.elasticsearch.password" for one in made.differences)

    def test_without_a_shipper_nothing_is_told(self) -> None:
        """Where no Filebeat runs its file is as it was, and no difference of it is listed."""
        policies = loaded().policies
        others = tuple(one for one in policies.components if one.kind != "filebeat")
        made = rewire(dataclasses.replace(policies, components=others), with_logs())
        assert made.files["filebeat.yml"] == FILEBEAT
        assert not [one for one in made.differences if one.file == "filebeat.yml"]


def test_a_component_is_enough_to_be_a_shipper(tmp_path: Path) -> None:
    """The twin of the last test: with the component, the copy differs."""
    policies = ours(folder(tmp_path)).policies
    assert any(isinstance(one, ComponentPolicy) and one.kind == "filebeat" for one in policies.components)
    assert rewire(policies, with_logs()).files["filebeat.yml"] != FILEBEAT
