"""The command `tocsin`.

Nothing heavy is imported before it is needed: `tocsin --version` answers in 0.15 s (`benchmarks/startup.py`).
"""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from harness import __version__
from harness.errors import Defect, HarnessError, UsageError
from harness.model.plan import Profile

_EPILOG = """examples:
  tocsin doctor                          what of this machine will work, and what to do about the rest
  tocsin stack fetch                     bring the real components into the cache
  tocsin run                             start the stack, inject faults, prove that every alert is heard
  tocsin run --only ServerDown --seed 7  one alert, with the instants of seed 7
  tocsin report runs/latest --format json
  tocsin audit runs/latest               what of its log records was found again

exit codes: 0 pass, 1 fail, 2 usage, 3 inconclusive or unverified, 4 harness error
"""


def cache_folder() -> Path:
    """Where real components are kept: `TOCSIN_CACHE`, else the user's cache folder."""
    named = os.environ.get("TOCSIN_CACHE")
    if named:
        return Path(named).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tocsin"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tocsin",
        description="Proves that your monitoring would wake somebody.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"tocsin {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_run(commands)
    _add_report(commands)
    _add_stack(commands)
    _add_audit(commands)
    _add_doctor(commands)
    return parser


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    summary: str,
    example: str,
    formats: Sequence[str],
    act: Callable[[argparse.Namespace], int],
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=f"example:\n  {example}\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--policies", type=Path, default=Path("policies"), metavar="DIR", help="the policies folder (default: policies)"
    )
    parser.add_argument(
        "--format", choices=formats, default=formats[0], help=f"form of the result (default: {formats[0]})"
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the result there instead of standard output")
    parser.set_defaults(act=act)
    return parser


def _add_run(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(
        commands,
        "run",
        "start the real stack, inject faults, prove that every alert is heard in every channel in time",
        "tocsin run --profile smoke --only ServerDown --seed 7",
        ("terminal", "json", "junit"),
        _run,
    )
    parser.add_argument(
        "--profile",
        choices=[profile.value for profile in Profile],
        default=Profile.SMOKE.value,
        help="how much is tried: each priority once, every alert with a bound, every fault (default: smoke)",
    )
    parser.add_argument("--only", action="append", default=[], metavar="ALERT", help="only this alert; may be repeated")
    parser.add_argument("--seed", type=int, metavar="N", help="fixes every random instant (default: drawn and printed)")
    parser.add_argument(
        "--out", type=Path, default=Path("runs"), metavar="DIR", help="folder of the runs (default: runs)"
    )
    parser.add_argument("--runtime", choices=("process",), default="process", help="how components are run")


def _add_report(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(
        commands,
        "report",
        "make any report again from a run's ledger",
        "tocsin report runs/latest --format json --output summary.json",
        ("terminal", "json", "junit"),
        _report,
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a run, e.g. runs/latest")


def _add_stack(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(
        commands,
        "stack",
        "the real components, without a test",
        "tocsin stack fetch, or tocsin stack fetch opensearch filebeat",
        ("terminal", "json"),
        _stack,
    )
    parser.add_argument("what", choices=("fetch",), help="fetch: bring them into the cache")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these, by their names in the catalogue")


def _add_audit(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(
        commands,
        "audit",
        "tell what of everything that was written can be found again: of a run, a store, or files",
        "tocsin audit --manifests runs/latest/manifests --store http://127.0.0.1:9200 --index 'community-platform-*'",
        ("terminal", "json"),
        _audit,
    )
    parser.add_argument("run", nargs="?", type=Path, metavar="RUN", help="a run's own audit (default: runs/latest)")
    parser.add_argument("--manifests", type=Path, metavar="DIR", help="what was announced: one file a writer")
    parser.add_argument("--store", metavar="URL", help="the store: OpenSearch, Elasticsearch 7 or 8, ClickHouse")
    parser.add_argument(
        "--index", default="community-platform-*", metavar="PATTERN", help="its indices (default: community-platform-*)"
    )
    parser.add_argument("--database", metavar="NAME", help="look for events in this database: the store is ClickHouse")
    parser.add_argument("--in-sql", action="store_true", help="have ClickHouse itself do the audit")
    parser.add_argument("--user", metavar="NAME", help="who asks the store")
    parser.add_argument("--password-file", type=Path, metavar="FILE", help="a file that holds the password")
    parser.add_argument("--records", nargs="+", type=Path, metavar="FILE", help="look in these NDJSON files instead")


def _add_doctor(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    _command(
        commands,
        "doctor",
        "tell what of this machine will work, what will not, and what to do",
        "tocsin doctor",
        ("terminal", "json"),
        _doctor,
    )


def _say(text: str) -> None:
    # Whoever read this may be gone (a terminal that hung up, `2>&1 | head`): that must not end what is under way.
    with suppress(OSError, ValueError):
        print(f"tocsin: {text}", file=sys.stderr, flush=True)  # noqa: T201 - progress belongs on standard error


def _emit(text: str, output: Path | None) -> None:
    """Results go to standard output, or whole into a file.

    Raises:
        UsageError: neither takes them.
    """
    text = text if text.endswith("\n") else text + "\n"
    try:
        if output is None:
            sys.stdout.write(text)
            sys.stdout.flush()
        else:
            output.write_text(text, encoding="utf-8")
    except OSError as error:
        # A reader that had enough (`tocsin report … | head`) is no error of ours, and no reason for another exit code.
        if not isinstance(error, BrokenPipeError):
            raise _cannot_write(output, error.strerror or str(error)) from error


def _cannot_write(output: Path | None, seen: str) -> UsageError:
    where = output or "to standard output"
    return UsageError(f"cannot write {where}", seen=seen, hint="name a file in a folder that exists by --output")


def _refuse_early(output: Path | None) -> None:
    """A result that cannot be written is refused before the work, not after it."""
    if output is not None and (output.is_dir() or not output.parent.is_dir()):
        raise _cannot_write(output, "it is a folder" if output.is_dir() else f"there is no folder {output.parent}")


def _steady_streams() -> None:
    """Output never fails for want of a letter or of a stream: what cannot be encoded is written as `?`."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by whoever called us
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - it stays open as long as we
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _settle_streams() -> None:
    """Drops what a reader that went away has left unwritten: Python would try again at its end, and exit with 120."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _rendered(form: str, folder: Path, output: Path | None) -> tuple[str, int]:
    """A report of a run in one of its forms, coloured for a terminal alone, and the exit code of its verdict."""
    from harness.report.recorded import read_run
    from harness.report.registry import render

    recorded = read_run(folder)
    colour = output is None and sys.stdout.isatty() and "NO_COLOR" not in os.environ
    return render(form, recorded, colour=colour), recorded.judgement.exit_code


def _run(arguments: argparse.Namespace) -> int:
    from harness.report.live import LiveProgress
    from harness.run import Options, execute

    options = Options(
        policies=arguments.policies,
        cache=cache_folder(),
        out=arguments.out,
        profile=arguments.profile,
        only=tuple(arguments.only),
        seed=arguments.seed,
        runtime=arguments.runtime,
    )
    with LiveProgress(sys.stderr) as progress:
        folder = execute(options, progress.show, progress.say)
    text, code = _rendered(arguments.format, folder, arguments.output)
    _say(f"files of this run: {folder}")
    try:
        _emit(text, arguments.output)
    except UsageError as error:
        if code == 0:
            raise
        _say(str(error))  # a terminal that hung up stopped the run, say: its own code tells more
    return code


def _report(arguments: argparse.Namespace) -> int:
    text, _ = _rendered(arguments.format, arguments.run, arguments.output)
    _emit(text, arguments.output)
    return 0


def _stack(arguments: argparse.Namespace) -> int:
    import json

    from harness.stack.provision.cache import cached
    from harness.stack.provision.catalog import CATALOG

    names = tuple(arguments.names) or tuple(package.name for package in CATALOG)
    artifacts = cached(names, cache_folder())
    if artifacts is None:
        from harness.stack.provision.fetch import bring

        artifacts = bring(names, cache_folder(), _say)
    if arguments.format == "json":
        rows = [{"name": a.name, "version": a.version, "source": a.source, "root": a.root} for a in artifacts.values()]
        _emit(json.dumps({"schema": "tocsin/components/1", "components": rows}, indent=2), arguments.output)
    else:
        _emit("\n".join(f"{a.name:<18} {a.version:<12} {a.source}" for a in artifacts.values()), arguments.output)
    return 0


def _audit(arguments: argparse.Namespace) -> int:
    import json

    from harness.audit import audit_clickhouse_at, audit_files, audit_run, audit_store_at
    from harness.report.audited import audit_json, text

    looks = [name for name in ("run", "store", "records") if getattr(arguments, name) is not None]
    if len(looks) > 1 or (arguments.manifests is None) != (not {"store", "records"} & set(looks)):
        raise UsageError(
            "it is not clear what to audit",
            expected="a RUN alone, or --manifests together with --store or with --records",
            seen=", ".join([*looks, *(["manifests"] if arguments.manifests else [])]),
        )
    if (arguments.database and arguments.store is None) or (arguments.in_sql and not arguments.database):
        raise UsageError(
            "it is not clear which ClickHouse to audit",
            expected="--store URL --database NAME, with --in-sql where it is to count by itself",
        )
    work = cache_folder() / "work"
    if arguments.database:
        told = audit_clickhouse_at(
            arguments.store,
            arguments.manifests,
            arguments.policies,
            database=arguments.database,
            in_sql=arguments.in_sql,
            user=arguments.user,
            password_file=arguments.password_file,
            work=work,
        )
    elif arguments.store is not None:
        told = audit_store_at(
            arguments.store,
            arguments.manifests,
            arguments.policies,
            index=arguments.index,
            user=arguments.user,
            password_file=arguments.password_file,
            work=work,
        )
    elif arguments.records is not None:
        told = audit_files(arguments.records, arguments.manifests, arguments.policies, work=work)
    else:
        told = audit_run(arguments.run or Path("runs/latest"), arguments.policies)
    if arguments.format == "json":
        judged = {"verdict": told.verdict.value, "exit_code": told.exit_code, "claim": told.claim}
        shown = json.dumps({**audit_json(told.audits, told.gaps), **judged}, indent=2, allow_nan=False)
    else:
        shown = text(told.audits, told.gaps, told.verdict.value, told.claim)
    _emit(shown, arguments.output)
    return told.exit_code


def _doctor(arguments: argparse.Namespace) -> int:
    from harness.doctor import as_json, as_text, examine

    advice = examine(cache_folder())
    _emit(as_json(advice) if arguments.format == "json" else as_text(advice), arguments.output)
    return 3 if any(row.state == "no" and row.needed for row in advice) else 0


@contextmanager
def _ended_as_by_ctrl_c() -> Iterator[None]:
    """Makes SIGTERM and SIGHUP end a command as Ctrl-C does, with a sentence; a run has an answer of its own to all."""
    ours: list[signal.Signals] = []
    if threading.current_thread() is threading.main_thread():
        ours = [one for one in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(one) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code; every error is a sentence on standard error."""
    _steady_streams()
    try:
        return _act(_parser().parse_args(arguments))
    finally:
        _settle_streams()


def _act(parsed: argparse.Namespace) -> int:
    try:
        with _ended_as_by_ctrl_c():
            _refuse_early(parsed.output)
            code = parsed.act(parsed)
    except HarnessError as error:
        _say(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        _say("stopped")
        return 4
    except Exception as error:  # noqa: BLE001 - Python's own exit code 1 would read as «alerts failed»
        if os.environ.get("TOCSIN_DEBUG"):
            import traceback

            traceback.print_exception(error)
        _say(str(Defect.of(error)))
        return Defect.exit_code
    return int(code)
