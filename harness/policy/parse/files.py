"""Reading a policies folder: bytes to text, globs to files, and findings where that fails. Nothing is ever written."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from harness.errors import UsageError
from harness.model.findings import Finding, Severity, Subject
from harness.model.source import Span


class Folder:
    """A policies folder as it is read. `texts` holds every file that was read, by path relative to the folder."""

    def __init__(self, root: Path) -> None:
        """Opens the folder.

        Raises:
            UsageError: it is not there, is no folder, is empty, or may not be read.
        """
        self.root = root
        self.texts: dict[str, str] = {}
        self.findings: list[Finding] = []
        example = "a policies folder holds prometheus.yml, alertmanager.yml, drills.yaml, targets.yaml and stack.yaml"
        try:
            if not root.exists():
                raise UsageError(
                    f"there is no folder {root}", expected=example, hint="name the folder with --policies DIR"
                )
            if not root.is_dir():
                raise UsageError(
                    f"{root} is a file, not a folder", expected=example, hint=f"try --policies {root.parent or '.'}"
                )
            if not any(root.iterdir()):
                raise UsageError(
                    f"the folder {root} is empty", expected=example, hint="name the folder with --policies DIR"
                )
        except (OSError, ValueError) as error:
            raise UsageError(
                f"the folder {root} cannot be read",
                expected=example,
                seen=_reason(error),
                hint="check the path and its permissions",
            ) from error

    def shown(self, relative: str) -> str:
        """The path as the user would type it from where the command runs."""
        path = self.root / relative
        try:
            return str(path.relative_to(Path.cwd())) if path.is_absolute() else str(path)
        except (ValueError, OSError):
            return str(path)

    def first(self, names: Sequence[str]) -> str | None:
        """The first of these files that is there; a finding and None where none is."""
        for name in names:
            if (self.root / name).exists():
                return name
        at = Span(self.shown(names[0]), 1, 1, 1, 1)
        self.findings.append(
            Finding("file/missing", Severity.ERROR, at, f"there is no {names[0]}", subject=Subject("file", names[0]))
        )
        return None

    def read(self, relative: str, blame: Span | None = None) -> str | None:
        """A file's text, or a finding and None. `blame` is where the file is named, if that is elsewhere."""
        if relative in self.texts:
            return self.texts[relative]
        path = self.root / relative
        start = Span(self.shown(relative), 1, 1, 1, 1)
        try:
            if not path.is_file():
                state = "is not a file" if path.exists() else "does not exist"
                self._refuse("file/missing", blame or start, relative, f"{self.shown(relative)} {state}")
                return None
            text = path.read_bytes().decode("utf-8")
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            column = error.start - (error.object.rfind(b"\n", 0, error.start) + 1) + 1
            at = Span(start.file, line, column, line, column + 1)
            self._refuse("file/encoding", at, relative, f"byte 0x{error.object[error.start]:02x} is not UTF-8")
            return None
        except (OSError, ValueError) as error:
            self._refuse("file/unreadable", blame or start, relative, f"{start.file} cannot be read: {_reason(error)}")
            return None
        self.texts[relative] = text
        return text

    def matching(self, pattern: str, beside: str) -> list[str] | None:
        """The files that a glob in the file `beside` means, sorted; None where it leads out of the folder."""
        parent = PurePosixPath(beside).parent
        if PurePosixPath(pattern).is_absolute() or ".." in PurePosixPath(pattern).parts:
            return None
        try:
            # Go's Glob, which Prometheus and Alertmanager use, does not descend: `**` means no more than `*`.
            found = sorted(self.root.joinpath(parent).glob(re.sub(r"\*+", "*", pattern)))
        except (OSError, ValueError, NotImplementedError, IndexError):
            return []  # what pathlib takes for no pattern, or may not list: the caller tells that it matches nothing
        return [path.relative_to(self.root).as_posix() for path in found if path.is_file()]

    def _refuse(self, ident: str, at: Span, relative: str, summary: str) -> None:
        self.findings.append(Finding(ident, Severity.ERROR, at, summary, subject=Subject("file", relative)))


def _reason(error: Exception) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)
