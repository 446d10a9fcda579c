"""Dump a schema of a database with pg_dump, in the state of a snapshot."""

from __future__ import annotations

from collections.abc import Callable

from quantmatrix_pipeline.errors import BackupError
from quantmatrix_pipeline.warehouse.client_programs import ClientPrograms, listen
from quantmatrix_pipeline.warehouse.contents import Snapshot

CHUNK = 1 << 20
LOCK_WAIT = "600s"

# Of gzip's levels the fastest.
COMPRESSION = "1"


def dump(url: str, schema: str, snapshot: Snapshot, write: Callable[[bytes], object]) -> None:
    """Hand the dump of a schema, in pg_dump's custom format, to `write` piece by piece.

    Parameters
    ----------
    url
        libpq URL of the database, for the owner of the schema's tables.
    schema
        What is dumped: the schema with all that is in it, without owners.
    snapshot
        The state that is dumped; it must stay open until this returns.
    write
        Takes the pieces in their order; what it raises ends pg_dump and is raised again.

    Raises
    ------
    BackupError
        No pg_dump is new enough for the server, or it fails: what was written is no dump then.
    """
    programs = ClientPrograms.fitting(url, snapshot.server)
    process = programs.start(
        "pg_dump",
        "--format=custom",
        f"--schema={schema}",
        f"--snapshot={snapshot.id}",
        "--no-owner",
        f"--lock-wait-timeout={LOCK_WAIT}",
        f"--compress={COMPRESSION}",
    )
    assert process.stdout is not None
    complaints = listen(process.stderr)
    try:
        while piece := process.stdout.read(CHUNK):
            write(piece)
    finally:
        process.stdout.close()  # a pg_dump that nobody reads any more ends by itself
        code = process.wait()
        why = complaints.gist()
    if code:
        raise BackupError(f"pg_dump of schema {schema} ended with {code}: {why}")
