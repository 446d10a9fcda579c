"""`qm version`."""

import typer

from quantmatrix_pipeline import __version__


def version() -> None:
    """Print the version."""
    typer.echo(__version__)
