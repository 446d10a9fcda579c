"""`qm bench`: measure this machine, side by side with named peers and the machine's own limits."""

from __future__ import annotations

from typing import Annotated

import typer


def bench(
    suite: Annotated[str, typer.Argument(help="all, or one suite; an unknown name lists them")] = "all",
    repeats: Annotated[int, typer.Option(min=1)] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")] = False,
) -> None:
    """Print medians and ratios of one run; a number alone says little on a shared machine."""
    from quantmatrix_pipeline.bench.run import run_suites

    run_suites(suite, repeats, as_json=as_json)
