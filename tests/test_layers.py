"""Who may import whom: the rooms in their order, siblings apart, pure rooms without I/O."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

HARNESS = Path(__file__).parent.parent / "harness"
ROOMS = ("model", "policy", "stack", "drive", "observe", "verdict", "report")
EVERYWHERE = {"errors", "model"}
DOORS = {"run", "rehearsal", "bookkeeping", "audit", "cli", "pytest_plugin", "doctor", "__main__"}
SIBLINGS = (
    "drive/faults",
    "drive/keeping",
    "drive/records",
    "drive/scenes",
    "observe/channels",
    "stack/components",
    "stack/runtimes",
    "stack/provision",
    "verdict/targets",
    "report",
)
# Modules of those folders that are not siblings but what the siblings share, or the tuple that lists them.
SHARED = {
    "drive/faults": {"registry"},
    "drive/keeping": {"asking", "back_fill", "comparing", "ground", "registry", "stage"},
    "drive/records": {"asking", "parts", "registry", "waiting", "way"},
    "drive/scenes": {"registry"},
    "observe/channels": {"registry", "webhook"},
    "stack/components": {"registry"},
    "stack/runtimes": set(),
    "stack/provision": {
        "cache",
        "catalog",
        "class_data",
        "commands",
        "fetch",
        "host",
        "lock",
        "repositories",
        "source",
        "trust",
    },
    "verdict/targets": {"registry"},
    "report": {"audited", "compared", "searched", "timeline", "recorded", "registry"},
}
PURE = ("model", "policy/rewire", "policy/translate", "drive/plan", "verdict")
IMPURE = {
    "aiohttp", "aiomysql", "aiosmtpd", "asyncio", "http", "locust", "os", "psutil", "redis", "requests",
    "shutil", "signal", "smtplib", "socket", "ssl", "subprocess", "tempfile", "threading", "urllib.request",
}  # fmt: skip


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, by its dotted name; `from a import b` counts as `a` and `a.b`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide who imports whom"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def modules(folder: str = "") -> list[Path]:
    """The Python files below a folder of the harness."""
    return sorted((HARNESS / folder).rglob("*.py"))


def test_every_module_lives_in_a_room() -> None:
    """A new top-level folder or module is a decision, taken here."""
    found = {path.relative_to(HARNESS).parts[0].removesuffix(".py") for path in modules()}
    assert found <= {*ROOMS, *DOORS, "errors", "__init__"}


@pytest.mark.parametrize("room", ROOMS)
def test_nobody_walks_back(room: str) -> None:
    """A room imports itself, earlier rooms, the model and the error tree; never a later room nor a door."""
    allowed = {*ROOMS[: ROOMS.index(room) + 1], *EVERYWHERE}
    for path in modules(room):
        for name in imports(path):
            parts = name.split(".")
            if parts[0] == "harness" and len(parts) > 1:
                assert parts[1] in allowed or parts[1] == "__version__", f"{path} imports {name}"


@pytest.mark.parametrize("folder", SIBLINGS)
def test_siblings_never_import_each_other(folder: str) -> None:
    """Two checks, faults, channels, components, source kinds or report forms know nothing of each other."""
    package = "harness." + folder.replace("/", ".")
    siblings = {path.stem for path in (HARNESS / folder).glob("*.py")} - {"__init__"} - SHARED[folder]
    assert siblings, f"{folder} has no siblings: is it still called so?"
    for path in (HARNESS / folder).glob("*.py"):
        if path.stem not in siblings:
            continue
        for name in imports(path):
            if name.startswith(package + "."):
                other = name.removeprefix(package + ".").split(".")[0]
                assert other == path.stem or other not in siblings, f"{path} imports its sibling {other}"


@pytest.mark.parametrize("folder", PURE)
def test_pure_rooms_do_no_io(folder: str) -> None:
    """What is marked pure imports nothing that could touch the world, and opens no file."""
    for path in modules(folder):
        found = set(imports(path)) & IMPURE
        assert not found, f"{path} imports {found}"
        calls = {
            node.func.id
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert "open" not in calls, f"{path} opens a file"


def test_only_loadtests_import_locust() -> None:
    """Locust monkey-patches the process that imports it."""
    for path in modules():
        assert not [name for name in imports(path) if name.split(".")[0] in {"locust", "gevent"}], path


def test_rooms_stay_small() -> None:
    """A module above about 400 lines is two modules."""
    large = {str(path.relative_to(HARNESS)): len(path.read_text().splitlines()) for path in modules()}
    assert {name: lines for name, lines in large.items() if lines > 420} == {}


def test_the_layer_test_sees_imports_inside_functions(tmp_path: Path) -> None:
    """The twin: an import that hides in a function is found, so the tests above can go red."""
    hidden = tmp_path / "hidden.py"
    hidden.write_text("def late():\n    from harness.report import terminal\n")
    assert "harness.report.terminal" in set(imports(hidden))
