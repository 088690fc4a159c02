"""`tocsin audit`: of files, of a store, of a run; exit codes, the shape of the contract, sentences for bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from ledgers import smoke
from record_sets import BEGAN, DOCUMENT, announced, record, stored, write_lines, write_manifest
from recorded_runs import write_run

from harness.cli import main
from harness.model.audit import AuditControl, Fates, RecordsAudited, RecordsNotAudited
from harness.report.audited import COLUMNS, audit_json, rows, text
from harness.report.summary import summary
from harness.report.terminal import render
from harness.verdict.judge import judge


@pytest.fixture
def policies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one schema, and a cache of its own."""
    monkeypatch.setenv("TOCSIN_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "policies"
    (folder / "logs").mkdir(parents=True)
    (folder / "logs" / "application.schema.json").write_bytes(orjson.dumps(DOCUMENT))
    return folder


def files(folder: Path, *, lost: int = 0, count: int = 40) -> list[str]:
    """Arguments for so many announced records, the first of which were lost."""
    records = [record(number) for number in range(1, count + 1)]
    manifests = folder / "manifests"
    write_manifest(manifests, [announced(one, BEGAN - 1e9 + at) for at, one in enumerate(records)])
    lines = [stored(one, BEGAN - 1e9 + at + 2) for at, one in enumerate(records)]
    found = write_lines(folder / "found.ndjson", lines[lost:])
    return ["audit", "--policies", str(folder / "policies"), "--manifests", str(manifests), "--records", str(found)]


@pytest.mark.parametrize(("lost", "code"), [(0, 0), (1, 1)])
def test_files_are_audited(policies: Path, capsys: pytest.CaptureFixture[str], lost: int, code: int) -> None:
    """The table, the names of the lost, the verdict in the last line and in the exit code."""
    assert main(files(policies.parent, lost=lost)) == code
    said = capsys.readouterr().out
    assert said.splitlines()[0].split("  ")[0] == "source"
    assert f"{40 - lost} of 40 records of 1 sources were found whole within 60 s" in said.splitlines()[-1]
    assert ("application: lost: 20261130T040000Z-abcd/application.lane-01.1/1" in said) == bool(lost)
    assert not list((policies.parent / "cache" / "work").iterdir())


def test_the_json_has_the_shape_of_the_contract(policies: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every field that other programs rely on."""
    assert main([*files(policies.parent, lost=1), "--format", "json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["schema"] == "tocsin/audit/1"
    counts = ("written", "in_time", "late", "duplicate", "corrupt", "lost", "unverified", "schema_violations")
    assert [told[name] for name in counts] == [40, 39, 0, 0, 0, 1, 0, 0]
    assert told["delay_seconds"] == {"p50": 2.0, "p99": 2.0, "max": 2.0}
    assert told["records_per_second"] > 0
    assert told["by_source"][0]["control"]["exact"] is True
    assert (told["verdict"], told["exit_code"]) == ("fail", 1)


def test_the_objective_of_the_policies_holds(policies: Path) -> None:
    """39 of 40 are enough where targets.yaml asks for less."""
    shipped = (Path(__file__).parents[1] / "policies" / "targets.yaml").read_text()
    head, found, rest = shipped.partition("name: logs-collected")
    assert found
    (policies / "targets.yaml").write_text(head + found + rest.replace("target: 0.99", "target: 0.9", 1))
    assert main(files(policies.parent, lost=1)) == 0


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (["--store", "http://127.0.0.1:9"], "it is not clear what to audit"),
        (["--records", "nowhere.ndjson"], "nowhere.ndjson cannot be read"),
        (["--manifests", "nowhere"], "the folder of manifests nowhere cannot be read"),
        (["--policies", "nowhere"], "there is no folder nowhere"),
    ],
)
def test_bad_arguments_are_sentences(
    policies: Path, capsys: pytest.CaptureFixture[str], change: list[str], told: str
) -> None:
    """Usage, exit code 2."""
    assert main([*files(policies.parent), *change]) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://127.0.0.1:9200", "http://HOST:PORT"),
        ("http://user:secret@127.0.0.1:9200", "--password-file"),
        ("http://127.0.0.1:port", "is no URL"),
    ],
)
def test_a_wrong_url_is_a_sentence(policies: Path, capsys: pytest.CaptureFixture[str], url: str, told: str) -> None:
    """And no credential is repeated."""
    arguments = files(policies.parent)[:-2]
    assert main([*arguments, "--store", url]) == 2
    said = capsys.readouterr().err
    assert told in said
    assert "secret" not in said


def test_a_store_that_cannot_be_asked_is_no_verdict(policies: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 4, and who did not answer."""
    assert main([*files(policies.parent)[:-2], "--store", "http://127.0.0.1:9"]) == 4
    assert "127.0.0.1:9 cannot be asked" in capsys.readouterr().err


@pytest.mark.parametrize(("schema", "told"), [("{", "schema.json:1:"), ('{"type": 7}', "this is no JSON Schema")])
def test_a_schema_that_is_none_is_told_with_its_place(
    policies: Path, capsys: pytest.CaptureFixture[str], schema: str, told: str
) -> None:
    """As every other finding."""
    (policies / "logs" / "application.schema.json").write_text(schema)
    assert main(files(policies.parent)) == 2
    assert told in capsys.readouterr().err


def test_no_schema_at_all_is_a_sentence(policies: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder that says of no record what it looks like."""
    (policies / "logs" / "application.schema.json").rename(policies / "other.json")
    assert main(files(policies.parent)) == 2
    assert "says of no record what it looks like" in capsys.readouterr().err


AUDIT = RecordsAudited(
    source="application",
    store="OpenSearch 2.19.5",
    fates=Fates(100, 95, 1, 1, 1, 2, 0),
    schema_violations=3,
    offending={"duration: type": 3},
    delay_p50_seconds=1.0,
    delay_p99_seconds=2.0,
    delay_max_seconds=64.0,
    by_fault={"store-down": Fates(10, in_time=8, lost=2), "load": Fates(10, in_time=10)},
    examples={"lost": ("r/e/7",)},
    control=AuditControl(7, 7, 7),
    stands_in={"for": "Elasticsearch", "is": "OpenSearch"},
    seconds=2.0,
)
GAP = RecordsNotAudited("nobody answered", "security")


def test_a_run_tells_of_its_audit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In its own reports as in `tocsin audit RUN`."""
    events = smoke(extra=[(200.0, AUDIT), (200.0, GAP)])
    report = render(judge(events), events)
    for told in ("records", "what faults cost", "store-down", "security: nobody answered", "lost: r/e/7"):
        assert told in report
    block: Any = summary(judge(events), events)["audit"]
    assert block == audit_json((AUDIT,), (GAP,))
    assert block["records_per_second"] == 50
    assert block["not_audited"] == [{"source": "security", "why": "nobody answered"}]
    assert main(["audit", str(write_run(tmp_path / "run", events))]) == 1
    said = capsys.readouterr().out
    assert "OpenSearch 2.19.5 (for Elasticsearch)" in said
    assert said.splitlines()[-1].startswith("FAIL — not audited: security: nobody answered; 96 of 100 records")


def test_a_run_without_an_audit_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 3: no evidence."""
    assert main(["audit", str(write_run(tmp_path / "run", smoke()))]) == 3
    assert "nobody looked for the records of this run" in capsys.readouterr().out
    assert summary(judge(smoke()), smoke())["audit"] is None


def test_rows_have_their_columns() -> None:
    """A table whose cells stand under their heads."""
    assert all(len(row) == len(COLUMNS) for row in rows([AUDIT]))
    assert "application  100      95" in text([AUDIT], [], "fail", "so it is")
