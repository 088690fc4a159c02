"""A process that does an audit's tasks: settings, then tasks on standard input, what they amount to on standard output.

Both are `marshal` of plain values. It ends with its standard input, so it never outlives who started it.
"""

from __future__ import annotations

import gc
import marshal
import os
import sys
from pathlib import Path
from typing import Any

from harness.observe.records.settings import Settings
from harness.observe.records.tasks import Tasks, seen_as_plain


def main() -> None:
    """Does tasks until there are no more."""
    given, answers = sys.stdin.buffer, sys.stdout.buffer
    settings = Settings.from_json(marshal.load(given))  # noqa: S302 - from the process that started this one
    gc.disable()  # a task makes no cycles, and many small objects whose count would start the collector all the time
    tasks, epochs = Tasks(settings, str(os.getpid())), dict[str, str]()
    while True:
        try:
            what, *arguments = marshal.load(given)  # noqa: S302 - from the process that started this one
        except EOFError:
            break
        answer: Any
        try:
            if what == "epochs":
                (epochs,) = arguments
                continue
            if what == "announcements":
                path, start, end = arguments
                told = tasks.announcements(Path(path), start, end)
                answer = [told.lines, told.epochs, told.broken]
            elif what == "records":
                path, start, end = arguments
                answer = seen_as_plain(tasks.records(Path(path), start, end, epochs))
            else:
                bucket, wanted = arguments
                answer = {source: one.plain() for source, one in tasks.joined(bucket, wanted).items()}
        except OSError as error:
            answer = f"{error.filename or 'a file'}: {error.strerror or error}"
        marshal.dump(answer, answers)
        answers.flush()


if __name__ == "__main__":
    main()
