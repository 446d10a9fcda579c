"""Run the suites of `qm bench` and print what they found: each requirement beside the number held against it."""

from __future__ import annotations

import importlib
import json
import os
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table

from quantmatrix_pipeline.bench.measure import Measured
from quantmatrix_pipeline.bench.report import Row
from quantmatrix_pipeline.bench.workspace import Workspace, workspace
from quantmatrix_pipeline.errors import ConfigurationError, QuantMatrixError

# In this order: what needs a quiet server first, what starts processes last.
SUITES = (
    "load",
    "truth",
    "grouped",
    "router",
    "panel",
    "indicators",
    "history",
    "chain",
    "operations",
    "api",
    "memory",
)
ALL = "all"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one suite found, or why it could not be run."""

    suite: str
    rows: tuple[Row, ...] = ()
    failure: str | None = None


def run_suites(suite: str = ALL, repeats: int = 5, *, as_json: bool = False) -> list[Outcome]:
    """Run one suite or all of them, and print their rows as tables, or as one JSON object.

    A requirement that is not met is said so and is no error: the machine may be busy, and numbers were asked for.

    Raises
    ------
    ConfigurationError
        There is no such suite.
    """
    if suite not in (ALL, *SUITES):
        raise ConfigurationError(f"there is no benchmark {suite!r}; there are {', '.join((ALL, *SUITES))}")
    console = Console(stderr=as_json)
    console.print(_machine(), highlight=False)
    outcomes: list[Outcome] = []
    with console.status("starting a PostgreSQL of the benchmarks' own"), workspace() as space:
        console.print(f"bars: {space.dataset.description}", highlight=False)
        for name in SUITES if suite == ALL else (suite,):
            with console.status(f"{name}, {repeats} repeats"):
                outcome = _run(name, space, repeats)
            outcomes.append(outcome)
            if not as_json:
                _print(outcome, console)
    if as_json:
        print(json.dumps(_report(outcomes, space, repeats), indent=2))  # noqa: T201 - what was asked for
    return outcomes


def _run(name: str, space: Workspace, repeats: int) -> Outcome:
    try:
        module = importlib.import_module(f"quantmatrix_pipeline.bench.{'serving' if name == 'api' else name}")
        rows: list[Row] = module.run(repeats) if name == "indicators" else module.run(space, repeats)
        return Outcome(name, tuple(_judged(rows)))
    except QuantMatrixError as error:
        return Outcome(name, failure=str(error))
    except Exception as error:  # the other suites' numbers are not to be lost with it
        return Outcome(name, failure=f"{type(error).__name__}: {error}")


def _judged(rows: list[Row]) -> Iterator[Row]:
    """Say of a row that only has a ratio or a limit in words whether it holds."""
    for row in rows:
        if isinstance(row, Measured) or not row.requirement:
            yield row
        elif row.requirement.startswith("faster"):
            yield Measured(**asdict(row), met=row.ratio is not None and row.ratio < 1)
        else:
            yield Measured(**asdict(row), met=row.value <= float(row.requirement.split()[1]))


def _machine() -> str:
    load = os.getloadavg()[0]
    return (
        f"machine: {os.cpu_count()} cores, {platform.system()} {platform.machine()},"
        f" Python {platform.python_version()}, load average {load:.1f} before the start;"
        " a number alone says little on a busy machine, ratios say more"
    )


def _report(outcomes: list[Outcome], space: Workspace, repeats: int) -> dict[str, object]:
    return {
        "machine": _machine(),
        "bars": space.dataset.description,
        "real_bars": space.dataset.real,
        "repeats": repeats,
        "suites": {o.suite: {"failure": o.failure, "rows": [asdict(row) for row in o.rows]} for o in outcomes},
    }


def _print(outcome: Outcome, console: Console) -> None:
    table = Table(title=outcome.suite, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for heading, justify in (("", "left"), ("median", "right"), ("min .. max", "right"), ("", "left")):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for heading in ("ratio", "requirement", ""):
        table.add_column(heading)
    for row in outcome.rows:
        spread, verdict = "", ""
        if isinstance(row, Measured):
            if row.low is not None and row.high is not None:
                spread = f"{_number(row.low)} .. {_number(row.high)}"
            verdict = "" if row.met is None else "[green]met[/]" if row.met else "[bold red]NOT MET[/]"
        ratio = "" if row.ratio is None else f"{row.ratio:.2f} of {row.ratio_to}"
        table.add_row(row.name, _number(row.value), spread, row.unit, ratio, row.requirement, verdict)
    console.print(table, highlight=False)
    if outcome.failure:
        console.print(f"[bold yellow]not measured:[/] {outcome.failure}", highlight=False)
    console.print()


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
