"""The pages are kept honest: commands parse, links resolve, files exist, and whatever there is has its page."""

from __future__ import annotations

import io
import re
import shlex
from pathlib import Path

import pytest
from ledgers import EPOCH, injection, message, numbered

from harness import errors
from harness.cli import _parser
from harness.drive.faults.registry import FAULTS
from harness.drive.records.registry import RECORD_FAULTS
from harness.drive.scenes.registry import SCENES
from harness.errors import HarnessError
from harness.model.events import ComponentReady, Injected, InjectionPlanned, Payload, Progress, RunStarted
from harness.model.stack import ComponentReport
from harness.model.verdicts import Verdict
from harness.observe.channels.registry import CHANNELS
from harness.report.live import LiveProgress
from harness.verdict.targets.registry import TARGETS

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^    (\w+) ", _parser().format_help(), re.MULTILINE)


def named(path: Path) -> str:
    """A page as it is called here."""
    return str(path.relative_to(ROOT))


def code(page: str) -> list[str]:
    """Everything that a page shows as code: the lines of its blocks, without comments, and what stands in backticks."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", page, flags=re.DOTALL | re.MULTILINE))
    lines = [line.split(" #")[0].strip() for block in blocks for line in block.splitlines()]
    return [*lines, *inline]


def commands(page: str, program: str) -> list[list[str]]:
    """Arguments of every call of a program that a page shows."""
    return [shlex.split(text)[1:] for text in code(page) if text.split(" ")[0] == program]


def parses(arguments: list[str]) -> bool:
    """Whether the command understands its arguments; `--version` ends it well."""
    try:
        _parser().parse_args(arguments)
    except SystemExit as stopped:
        return stopped.code == 0
    return True


def test_there_are_pages_and_commands() -> None:
    """The tests below are not about nothing."""
    assert len(PAGES) > 10
    assert ["run"] in commands(README, "tocsin")
    assert ["slo"] in commands(README, "make")
    assert ["slo/", "-k", "ServerDown"] in commands(README, "pytest")


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_every_command_that_is_shown_parses(path: Path) -> None:
    """A reader may type it; a sentence may call a command by its name alone."""
    for arguments in commands(path.read_text(encoding="utf-8"), "tocsin"):
        if arguments and arguments not in ([name] for name in COMMANDS):
            assert parses(arguments), f"{named(path)} shows `tocsin {shlex.join(arguments)}`"


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_every_make_target_and_suite_that_is_shown_exists(path: Path) -> None:
    """`make slo`, `pytest slo/`."""
    page = path.read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for arguments in commands(page, "make"):
        assert all(re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE) for target in arguments)
    for arguments in commands(page, "pytest"):
        assert all((ROOT / argument).exists() for argument in arguments[:1])


def test_every_option_in_the_table_of_commands_is_one() -> None:
    """The README lists options apart from their command: each belongs to the command of its row."""
    rows = re.findall(r"^\| `tocsin (\w+)[^`]*` \| (.*) \|$", README, re.MULTILINE)
    assert {name for name, _ in rows} == set(COMMANDS)
    shown = {"run": [], "report": ["runs/latest"], "stack": ["fetch"], "audit": [], "doctor": []}
    for name, told in rows:
        for option in re.findall(r"`(--[^`]+)`", told):
            assert parses([name, *shown[name], *shlex.split(option)])


def test_every_command_is_in_the_readme() -> None:
    """What `--help` lists, the page lists too."""
    assert COMMANDS == ["run", "report", "stack", "audit", "doctor"]
    assert all(f"| `tocsin {name}" in README for name in COMMANDS)


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_every_link_within_the_project_resolves(path: Path) -> None:
    """Pages, pictures and folders are there; a link into a page finds its heading."""
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, heading = target.partition("#")
        found = path.parent / file if file else path
        assert found.exists(), f"{named(path)} leads to {target}"
        if heading:
            headings = re.findall(r"^#+ (.*)$", found.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in {re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings}


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_every_file_of_ours_that_is_named_exists(path: Path) -> None:
    """`tests/test_layers.py`, `harness/…`, `policies/…`; a test that holds a rule must be there to hold it."""
    for text in code(path.read_text(encoding="utf-8")):
        if re.fullmatch(r"(tests|harness|docs|policies|loadtests|benchmarks|slo)/[\w./*-]*", text):
            assert list(ROOT.glob(text.rstrip("/"))), f"{named(path)} names {text}"


@pytest.mark.parametrize(
    ("folder", "ids", "title"),
    [
        ("faults", [fault.id for fault in FAULTS], r"# {}$"),
        ("channels", [channel.name for channel in CHANNELS], r"# Channel: "),
        ("scenes", [scene.id for scene in SCENES], r"# {}$"),
        ("record-faults", [fault.id for fault in RECORD_FAULTS], r"# {}$"),
    ],
    ids=["faults", "channels", "scenes", "record-faults"],
)
def test_every_part_has_its_page(folder: str, ids: list[str], title: str) -> None:
    """One page each under its own name, and no page of something that there is not."""
    assert {path.stem for path in (ROOT / "docs" / folder).glob("*.md")} == set(ids)
    for name in ids:
        first = (ROOT / "docs" / folder / f"{name}.md").read_text(encoding="utf-8").splitlines()[0]
        assert re.match(title.format(re.escape(name)), first)


def test_every_target_is_explained() -> None:
    """What a target samples, and what its success is, stands beside the verdicts."""
    page = (ROOT / "docs" / "verdicts.md").read_text(encoding="utf-8")
    for target in TARGETS:
        assert re.search(rf"^\| `{target.id}` \| ", page, re.MULTILINE)


def test_the_exit_codes_of_the_readme_are_those_of_the_code() -> None:
    """The error tree's, the verdicts', and the help's own sentence."""
    sentence = re.search(r"Exit codes: (.*)\.", README)
    assert sentence is not None
    told = {int(part[0]): part[2:] for part in sentence.group(1).split(", ")}
    assert sentence.group(1) in _parser().format_help()
    assert {verdict.exit_code for verdict in Verdict} == set(told) - {2}
    for verdict in Verdict:
        assert verdict.value in told[verdict.exit_code]
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, HarnessError)]
    assert {kind.exit_code for kind in kinds} == {2, 3, 4}
    assert (told[errors.UsageError.exit_code], told[HarnessError.exit_code]) == ("usage", "harness error")


def test_the_changelog_tells_of_what_is_not_released_yet() -> None:
    """Its first section, and something in it."""
    page = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"\A# .*?\n+## Unreleased\n+- \S", page)


def test_the_run_that_the_readme_shows_looks_like_one() -> None:
    """Its lines are those that progress would print for such events."""
    begins = "every target is scraped, load flows, no alert is left: the drills begin"
    assert begins in (ROOT / "harness" / "rehearsal.py").read_text(encoding="utf-8")
    events: list[Payload] = [
        RunStarted("20261123T130043Z-ac5c", "0.1.0", "gate", 766989, 1, "abc", "process", 1.0, "policies", 2),
        InjectionPlanned(injection("ServerDown", 1, "lane-01")),
        ComponentReady(ComponentReport("mysql", "10.11.19", "process", "apt", 1.18), "lane-01", "mysql.lane-01.log"),
        Progress(begins),
        Injected("ServerDown-1", 1.0, 2.0, "127.0.0.1:36813 refused the connection"),
        message("ServerDown", "lane-01", "slack", EPOCH, title="[FIRING:1] ServerDown lane-01 (critical)"),
        message("ServerDown", "lane-01", "email", EPOCH, title="[FIRING:1] ServerDown lane-01 (critical)"),
    ]
    stream = io.StringIO()
    progress = LiveProgress(stream)
    for event in numbered((EPOCH, payload) for payload in events):
        progress.show(event)
    stamp = re.compile(r"^ +\d+\.\d s  ", re.MULTILINE)
    shown = re.search(r"## What you will see\n\n```\n(.*?)```", README, re.DOTALL)
    assert shown is not None
    assert stamp.sub("", shown.group(1)) == stamp.sub("", stream.getvalue())


def test_a_command_that_does_not_exist_would_be_seen() -> None:
    """The twin: what the tests above look for is found in a page that has it."""
    page = "Type `tocsin frobnicate`.\n\n```\ntocsin run --nope   # no\n```\n"
    assert commands(page, "tocsin") == [["run", "--nope"], ["frobnicate"]]
    assert not any(map(parses, commands(page, "tocsin")))
    assert parses(["--version"])
