"""Prometheus's and Alertmanager's own tools over the shipped policies, and series as scrapes would store them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from policy_folders import SHIPPED

from harness.model.stack import Artifact

ENVIRONMENT = 'environment="production"'


def promtool(
    artifacts: Mapping[str, Artifact],
    folder: Path,
    series: Iterable[Mapping[str, str]],
    checks: Iterable[Mapping[str, Any]],
    rules: Path = SHIPPED,
) -> str:
    """Runs one rule test over the shipped rules, or those of another folder; its complaint, empty if there is none.

    Series have a value for each second, rules are evaluated each second.
    """
    test = {"interval": "1s", "input_series": list(series), "promql_expr_test": list(checks)}
    document = {"rule_files": [f"{rules}/alerts/*.rules.yml"], "evaluation_interval": "1s", "tests": [test]}
    path = folder / "rules.test.yml"
    path.write_text(yaml.safe_dump(document))
    done = run(artifacts["prometheus"].programs["promtool"], "test", "rules", path)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def run(program: str | Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs a tool to its end."""
    return subprocess.run(
        [str(program), *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60, cwd=SHIPPED
    )


def scraped(series: str, value: Callable[[int], float | None], seconds: int = 90, phase: int = 0) -> dict[str, str]:
    """A series that is scraped every 2 s from `phase` on: at each of these seconds its value, or stale for None."""
    stored = ("_" if second % 2 != phase else _written(value(second)) for second in range(seconds))
    return {"series": series, "values": " ".join(stored)}


def _written(value: float | None) -> str:
    return "stale" if value is None else f"{value:g}"


def firing(alert: str, at: int, count: int, labels: str = "") -> dict[str, Any]:
    """How many of an alert fire at a second."""
    matchers = ",".join(filter(None, (f'alertname="{alert}",alertstate="firing"', labels)))
    return number(f"count(ALERTS{{{matchers}}}) or vector(0)", at, count)


def number(expr: str, at: int, value: float) -> dict[str, Any]:
    """What an expression without labels is at a second."""
    return {"expr": expr, "eval_time": f"{at}s", "exp_samples": [{"labels": "{}", "value": value}]}


def sabotaged(to: Path, before: str, after: str) -> Path:
    """A folder with the shipped rules, in which one text is another one."""
    folder = to / "sabotaged"
    (folder / "alerts").mkdir(parents=True)
    seen = 0
    for path in (SHIPPED / "alerts").iterdir():
        text = path.read_text(encoding="utf-8")
        seen += text.count(before)
        (folder / "alerts" / path.name).write_text(text.replace(before, after), encoding="utf-8")
    assert seen > 0, f"no rule file contains {before!r}"
    return folder
