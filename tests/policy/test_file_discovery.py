"""Targets that jobs find in files: read with the policies, and in the copy one file for each job and lane."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_folders import LANES, NOWHERE, OF_A_LANE, SHARED, copy, loaded, sandbox

from harness.errors import PolicyError
from harness.model.findings import Finding, Severity
from harness.model.stack import Artifact, is_target_file, target_file
from harness.policy.parse import discovery
from harness.policy.rewire.rewiring import Rewiring, rewire

SANDBOX = sandbox()
FILE = "targets/community-platform.yml"
PATTERN = "files: [targets/community-platform.yml]"


def findings(root: Path) -> list[Finding]:
    """What is wrong with a folder's targets, errors and warnings."""
    try:
        found = loaded(root).findings
    except PolicyError as error:
        found = error.findings
    return [one for one in found if one.id.split("/")[0] in {"discovery", "file", "prometheus", "stack", "yaml"}]


def of(rewired: Rewiring, job: str = "community-platform") -> dict[str, Any]:
    """A job of the copy."""
    jobs = yaml.safe_load(rewired.files["prometheus.yml"])["scrape_configs"]
    found: dict[str, Any] = next(one for one in jobs if one["job_name"] == job)
    return found


def groups(rewired: Rewiring, job: str = "community-platform") -> dict[str, Any]:
    """The target groups that a job of the copy finds, by file."""
    (follows,) = of(rewired, job)["file_sd_configs"]
    return {name: yaml.safe_load(rewired.files[name]) for name in follows["files"]}


def test_every_lane_has_a_target_file_of_its_own() -> None:
    """The job names one file a lane, each with that lane's server alone, under the lane's environment."""
    rewired = rewire(loaded().policies, SANDBOX)
    assert of(rewired)["file_sd_configs"][0]["refresh_interval"] == "1s"
    assert groups(rewired) == {
        f"targets/community-platform.{lane}.yml": [
            {
                "targets": [str(SANDBOX.production["community-platform:5000"][lane])],
                "labels": {"environment": lane},
            }
        ]
        for lane in LANES
    }
    assert FILE not in rewired.files


def test_what_became_of_a_target_file_is_listed() -> None:
    """The job's new files in prometheus.yml; targets and environment where they stand in the file."""
    rewired = rewire(loaded().policies, SANDBOX)
    told = {(one.file, one.path): one for one in rewired.differences}
    follows = told["prometheus.yml", "scrape_configs[0].file_sd_configs"]
    assert FILE in follows.before
    assert "targets/community-platform.lane-2.yml" in follows.after
    assert told[FILE, "[0].targets[0]"].before == "community-platform:5000"
    assert "(lane-2)" in told[FILE, "[0].targets[0]"].after
    assert told[FILE, "[0].labels.environment"].before == "production"


@pytest.mark.parametrize("kind", ["yml", "yaml", "json"])
def test_yaml_and_json_and_globs_are_followed(tmp_path: Path, kind: str) -> None:
    """Files of both forms, found by a glob, each in the order of its name; other labels stay."""
    first = [{"targets": ["community-platform:5000"], "labels": {"tier": "web"}}]
    second = [{"targets": ["redis:6379"]}, {"targets": ["alertmanager:9093", "elsewhere:1"]}]
    root = copy(
        tmp_path,
        {
            FILE: None,
            f"targets/a.{kind}": json.dumps(first, indent=2),
            f"targets/b.{kind}": json.dumps(second),
            "targets/c.txt": "no target file",
            "prometheus.yml": (PATTERN, f"files: [targets/*.{kind}]"),
        },
    )
    assert [one.id for one in findings(root)] == ["stack/unknown-address"]
    rewired = rewire(loaded(root).policies, SANDBOX)
    redis = SANDBOX.production["redis:6379"]
    server = SANDBOX.production["community-platform:5000"]
    assert groups(rewired) == {
        **{
            f"targets/community-platform.{lane}.yml": [
                {"targets": [str(server[lane])], "labels": {"tier": "web", "environment": lane}},
                {"targets": [str(redis[lane])], "labels": {"environment": lane}},
            ]
            for lane in LANES
        },
        "targets/community-platform.shared.yml": [
            {
                "targets": [str(SANDBOX.production["alertmanager:9093"][""])],
                "labels": {"environment": "shared"},
            },
            {"targets": [str(NOWHERE)]},
        ],
    }


def test_a_pattern_means_files_of_its_own_folder() -> None:
    """As Go's Glob: `*` stops at a folder, `**` is no more than `*`, each file comes once, in the order of patterns."""
    files = ["d/e/b.yml", "d/b.yml", "b.yml", "a.yml"]
    assert discovery.named(["*.yml"], files) == ("a.yml", "b.yml")
    assert discovery.named(["d/b.yml", "*.yml", "d/**.yml"], files) == ("d/b.yml", "a.yml", "b.yml")
    assert discovery.named(["./a.yml", "d//b.yml"], files) == ("a.yml", "d/b.yml")
    assert discovery.named(["/b.yml", "../b.yml", "c.yml"], files) == ()


def test_two_jobs_may_read_one_file(tmp_path: Path) -> None:
    """Each gets files of its own, and what became of the file is told once."""
    second = f"scrape_configs:\n  - job_name: a/b\n    file_sd_configs: [{{{PATTERN}}}]\n"
    root = copy(tmp_path, {"prometheus.yml": ("scrape_configs:\n", second)})
    rewired = rewire(loaded(root).policies, SANDBOX)
    assert list(groups(rewired, "a/b")) == [f"targets/a%2Fb.{lane}.yml" for lane in LANES]
    assert (
        groups(rewired)["targets/community-platform.lane-1.yml"] == groups(rewired, "a/b")["targets/a%2Fb.lane-1.yml"]
    )
    assert [one.path for one in rewired.differences if one.file == FILE] == ["[0].targets[0]", "[0].labels.environment"]


WRONG = [
    pytest.param("- targets: [a:1\n", "yaml/syntax", Severity.ERROR, (2, 1), id="broken YAML"),
    pytest.param("targets: [a:1]\n", "discovery/shape", Severity.ERROR, (1, 1), id="no list"),
    pytest.param("- targets: a:1\n", "discovery/shape", Severity.ERROR, (1, 12), id="one target without a list"),
    pytest.param("- targets: []\n  label: {a: b}\n", "discovery/unknown-setting", Severity.ERROR, (2, 3), id="a typo"),
    pytest.param("- targets: []\n-\n", "discovery/empty-group", Severity.ERROR, (2, 2), id="an empty group"),
    pytest.param("# later\n", "discovery/no-targets", Severity.WARNING, (1, 1), id="nothing but a comment"),
    pytest.param("[]\n", "discovery/no-targets", Severity.WARNING, (1, 1), id="no group"),
    pytest.param(
        "- targets: [comunity-platform:5000]\n", "stack/unknown-address", Severity.WARNING, (1, 13), id="no address"
    ),
]


@pytest.mark.parametrize(("text", "ident", "severity", "place"), WRONG)
def test_what_is_wrong_in_a_target_file_is_told_with_its_place(
    tmp_path: Path, text: str, ident: str, severity: Severity, place: tuple[int, int]
) -> None:
    """File, line and column in the target file itself; an address is held against stack.yaml as a static one is."""
    (found,) = findings(copy(tmp_path, {FILE: text}))
    assert (found.id, found.severity) == (ident, severity)
    assert found.span.file.endswith(FILE)
    assert (found.span.line, found.span.column) == place
    if ident == "stack/unknown-address":
        assert "did you mean 'community-platform:5000'?" in found.fix


def test_a_json_file_that_is_only_yaml_is_refused(tmp_path: Path) -> None:
    """Prometheus reads it as JSON by its name, so the place is that of the JSON error."""
    edits: Mapping[str, str | tuple[str, str]] = {
        "targets/a.json": "[\n  {targets: [community-platform:5000]}\n]",
        "prometheus.yml": (PATTERN, "files: [targets/a.json]"),
    }
    (found,) = findings(copy(tmp_path, edits))
    assert (found.id, found.span.line, found.span.column) == ("discovery/json", 2, 4)


@pytest.mark.parametrize("pattern", ["targets/nothing.yml", "targets/x*.yml"])
def test_a_pattern_that_finds_nothing_is_an_error(tmp_path: Path, pattern: str) -> None:
    """Neither a missing file nor an empty glob is told by Prometheus: the job would scrape nothing, in silence."""
    (found,) = findings(copy(tmp_path, {"prometheus.yml": (PATTERN, f"files: [{pattern}]")}))
    assert (found.id, found.severity) == ("file/glob-matches-nothing", Severity.ERROR)
    assert found.span.file.endswith("prometheus.yml")
    assert f"{pattern!r} matches no target file" in found.summary


def test_files_of_the_host_are_left_out_with_a_finding(tmp_path: Path) -> None:
    """A copy cannot follow an absolute path: the job loses these targets, and that is warned of where it stands."""
    both = "files: [targets/community-platform.yml, /etc/prometheus/more/*.json]"
    root = copy(tmp_path, {"prometheus.yml": (PATTERN, both)})
    assert findings(root) == []
    found = loaded(root)
    rewired = rewire(found.policies, SANDBOX)
    (left,) = rewired.findings
    assert left.id == "rewire/left-out"
    assert "/etc/prometheus/more/*.json" in left.summary
    assert len(groups(rewired)) == len(LANES)
    alone = loaded(copy(tmp_path / "alone", {"prometheus.yml": (PATTERN, "files: [/etc/a.yml]")}))
    rewired = rewire(alone.policies, SANDBOX)
    assert "file_sd_configs" not in of(rewired)
    assert [one.id for one in rewired.findings] == ["rewire/left-out"]


def test_a_lane_s_files_are_known_by_their_names() -> None:
    """Whoever withdraws a lane's targets finds its files and no other's, however a job is called."""
    names = {lane: target_file("targets", "a/b.lane-1", lane) for lane in (*LANES, "lane-10", "my-lane-1", "shared")}
    for lane, name in names.items():
        assert [other for other, theirs in names.items() if is_target_file(theirs, lane)] == [lane]
        assert name.count("/") == 1
    assert target_file("", "j", "lane-1") == "j.lane-1.yml"


_groups = st.lists(
    st.fixed_dictionaries(
        {"targets": st.lists(st.sampled_from([*SHARED, *OF_A_LANE, "elsewhere:1"]), max_size=3)},
        optional={"labels": st.dictionaries(st.sampled_from(["environment", "team"]), st.text("ab", min_size=1))},
    ),
    max_size=3,
)


def scraped(of_file: object, *, lanes_of: bool) -> Counter[str]:
    """Addresses with their team, how often; those of production as the sandbox must serve them."""
    found: Counter[str] = Counter()
    for group in of_file if isinstance(of_file, list) else []:
        for target in group["targets"]:
            places = SANDBOX.production.get(target, {"": NOWHERE}).values() if lanes_of else (target,)
            found.update(f"{place} of {(group.get('labels') or {}).get('team')}" for place in places)
    return found


@given(st.lists(_groups, min_size=1, max_size=3))
@settings(max_examples=60, deadline=None)
def test_no_target_is_lost_and_none_is_added(tmp_path_factory: pytest.TempPathFactory, files: list[Any]) -> None:
    """Whatever the files say, the copy's files say it for every lane; each lane's file holds its own targets alone."""
    texts = {f"targets/{number}.yml": yaml.safe_dump(groups) for number, groups in enumerate(files)}
    edits: dict[str, Any] = {**texts, FILE: None, "prometheus.yml": (PATTERN, "files: [targets/*.yml]")}
    rewired = rewire(loaded(copy(tmp_path_factory.mktemp("f"), edits)).policies, SANDBOX)
    wanted = sum((scraped(groups, lanes_of=True) for groups in files), Counter())
    found = groups(rewired) if "file_sd_configs" in of(rewired) else {}
    assert sum((scraped(of_file, lanes_of=False) for of_file in found.values()), Counter()) == wanted
    for name, of_file in found.items():
        assert of_file
        assert all(group["targets"] for group in of_file)
        for lane in LANES:
            elsewhere = {
                str(places[other]) for places in SANDBOX.production.values() for other in places if other != lane
            }
            assert not is_target_file(name, lane) or not {t for g in of_file for t in g["targets"]} & elsewhere


def test_the_property_can_fail() -> None:
    """The counting above sees a target that is missing in one lane."""
    group = [{"targets": ["redis:6379"]}]
    one_lane = [{"targets": [str(SANDBOX.production["redis:6379"]["lane-1"])]}]
    assert scraped(group, lanes_of=True) != scraped(one_lane, lanes_of=False)


# --- with real programs -----------------------------------------------------------------------------------------


def checked(artifacts: Mapping[str, Artifact], folder: Path, pattern: str) -> bool:
    """Whether promtool accepts a job with this pattern, and the files that it names."""
    job = {"job_name": "j", "file_sd_configs": [{"files": [pattern]}]}
    (folder / "prometheus.yml").write_text(yaml.safe_dump({"scrape_configs": [job]}))
    program = artifacts["prometheus"].programs["promtool"]
    done = subprocess.run(
        [program, "check", "config", "prometheus.yml"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode == 0


@pytest.mark.stack
@pytest.mark.parametrize("pattern", ["a.yml", "a.YAML", "d/*.json", "d/a*b*.yml", "a.txt", "*/a.yml", "a.Json", "*"])
def test_prometheus_takes_the_same_names(tmp_path: Path, artifacts: Mapping[str, Artifact], pattern: str) -> None:
    """What we accept as the name of target files is what the real program starts with, and nothing else."""
    assert checked(artifacts, tmp_path, pattern) is discovery.is_name(pattern)


CONTENT = {
    "a.yml": [
        "- targets: [a:1]\n",
        "[]",
        "",
        "- targets: [a:1]\n  labels: {a: b}\n",
        "- targets: [a:1\n",
        "- targets: [a:1]\n  label: {a: b}\n",
        "- targets: [a:1]\n-\n",
        "targets: [a:1]\n",
    ],
    "a.json": [
        '[{"targets": ["a:1"]}]',
        "[{targets: [a:1]}]",
        '[{"targets": ["a:1"], "x": 1}]',
        '[{"targets": ["a:1"],}]',
    ],
}


@pytest.mark.stack
@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in CONTENT.items() for text in texts])
def test_prometheus_refuses_the_same_content(
    tmp_path: Path, artifacts: Mapping[str, Artifact], name: str, text: str
) -> None:
    """An error of ours is an error of the real program, and the other way round."""
    (tmp_path / name).write_text(text)
    errors = [one for one in discovery.parse(text, name).findings if one.severity is Severity.ERROR]
    assert checked(artifacts, tmp_path, name) is not bool(errors)
