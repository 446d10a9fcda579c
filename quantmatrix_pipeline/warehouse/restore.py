"""Put a dump back: all of it in one transaction, over nothing or in the place of what is there."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg
import psycopg.conninfo
from psycopg import sql

from quantmatrix_pipeline.errors import BackupError, WarehouseUnavailable
from quantmatrix_pipeline.warehouse.client_programs import ClientPrograms, listen
from quantmatrix_pipeline.warehouse.dump import CHUNK
from quantmatrix_pipeline.warehouse.engine import masked

# A restore in the place of something waits so long for those who are reading or writing it.
LOCK_WAIT = "60s"

# Everything in a schema but what extensions put there; identity columns' sequences go with their tables. The schema
# itself stays: it may not be ours to make again.
_CLEAR = """
SET client_min_messages = 'warning';
SET lock_timeout = '{wait}';
CREATE SCHEMA IF NOT EXISTS {schema};
DO $clear$
DECLARE
    commands text[];
    command text;
BEGIN
    -- All of them first: a name can't be looked up any more when what bore it went with something else.
    SELECT array_agg(c) INTO commands FROM (
        SELECT format('DROP %s IF EXISTS %I.%I CASCADE', CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN
               'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, {name}, relname) AS c
        FROM pg_class c
        WHERE relnamespace = to_regnamespace({name}) AND relkind IN ('r', 'p', 'v', 'm', 'S')
          AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                          AND (d.deptype = 'e' OR d.deptype = 'i' AND relkind = 'S'))
        UNION ALL
        SELECT format('DROP ROUTINE IF EXISTS %s CASCADE', p.oid::regprocedure)
        FROM pg_proc p
        WHERE pronamespace = to_regnamespace({name})
          AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid
                          AND d.deptype = 'e')
        UNION ALL
        SELECT format('DROP TYPE IF EXISTS %I.%I CASCADE', {name}, typname)
        FROM pg_type t
        WHERE typnamespace = to_regnamespace({name}) AND typtype IN ('e', 'd', 'r')
          AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid
                          AND d.deptype = 'e')
    ) AS everything;
    FOREACH command IN ARRAY coalesce(commands, '{{}}') LOOP
        EXECUTE command;
    END LOOP;
END
$clear$;
"""

_ROLES = """
DO $roles$
DECLARE
    role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['qm_owner', 'qm_writer', 'qm_reader'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role_name) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', role_name);
        END IF;
    END LOOP;
END
$roles$;
"""


def tables_in(url: str, schema: str) -> dict[str, int]:
    """Return the tables of a schema with the server's estimate of their rows, -1 where it has none.

    Raises
    ------
    WarehouseUnavailable
        The database does not answer.
    """
    with _connect(url) as connection:
        rows = connection.execute(
            "SELECT relname, reltuples::bigint FROM pg_class WHERE relnamespace = to_regnamespace(%s)"
            " AND relkind IN ('r', 'p') AND NOT relispartition ORDER BY relname",
            (schema,),
        ).fetchall()
    return {str(name): int(rows) for name, rows in rows}


def restore(url: str, archive: Path, schema: str) -> None:
    """Make a schema what a dump holds, in one transaction: what was there is gone, or all stays as it is.

    Parameters
    ----------
    url
        libpq URL of the database, for the role that shall own what is made.
    archive
        A file as `dump` makes it, of a schema of this name.

    Raises
    ------
    BackupError
        It could not be put back; says what PostgreSQL complained of. Nothing has changed then.
    WarehouseUnavailable
        The database does not answer.
    """
    with _connect(url) as connection:
        server = str(connection.info.parameter_status("server_version"))
    programs = ClientPrograms.fitting(url, server)
    listed = programs.run("pg_restore", "--list", str(archive)).decode(errors="replace").splitlines()
    rights_of_later = [line for line in listed if " DEFAULT ACL " in line]
    kept = [line for line in listed if f" SCHEMA - {schema} " not in line and line not in rights_of_later]
    with tempfile.TemporaryDirectory(prefix="qm-restore-") as folder:
        lists = Path(folder)
        (lists / "kept").write_text("\n".join(kept) + "\n")
        (lists / "rights").write_text("\n".join(rights_of_later) + "\n")
        rights = b""
        if rights_of_later:
            rights = programs.run("pg_restore", f"--use-list={lists / 'rights'}", "--file=-", str(archive))
        after = for_server(server, _of_whoever_restores(rights))
        _pour(programs, url, archive, lists / "kept", _before(schema), after, server)


def _before(schema: str) -> bytes:
    clear = sql.SQL(_CLEAR).format(  # the wait is a constant of ours
        wait=sql.SQL(LOCK_WAIT), schema=sql.Identifier(schema), name=sql.Literal(schema)
    )
    # Migration 0001 makes Dagster's schema beside the warehouse and will not run again.
    return (_ROLES + clear.as_string(None) + "CREATE SCHEMA IF NOT EXISTS dagster;\n").encode()


def for_server(server: str, beginning: bytes) -> bytes:
    """Return the beginning of a script of pg_restore without the setting that a server before version 17 refuses."""
    if int(server.split(".")[0]) >= 17:
        return beginning
    return beginning.replace(b"\nSET transaction_timeout = 0;\n", b"\n", 1)


def _of_whoever_restores(rights: bytes) -> bytes:
    """Return the rights that later tables get, given by the role that restores instead of by the dump's owner."""
    lines = []
    for line in rights.decode().splitlines():
        words = line.split(" ")
        if words[:5] == ["ALTER", "DEFAULT", "PRIVILEGES", "FOR", "ROLE"]:
            line = " ".join([*words[:3], *words[6:]])
        lines.append(line)
    return "\n".join(lines).encode() + b"\n"


def _pour(
    programs: ClientPrograms, url: str, archive: Path, use_list: Path, before: bytes, after: bytes, server: str
) -> None:
    """Let psql execute, in one transaction, `before`, the archive's listed entries and `after`."""
    # A transaction of our own words: with --single-transaction psql would commit what it has when we are killed.
    psql = programs.start("psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--file=-", stdin=subprocess.PIPE)
    assert psql.stdin is not None
    complaints, answers = listen(psql.stderr), listen(psql.stdout)
    try:
        psql.stdin.write(b"BEGIN;\n" + before)
        for piece in _script(programs, archive, use_list, server):
            psql.stdin.write(piece)
        psql.stdin.write(after + b"COMMIT;\n")
        psql.stdin.close()
    except BrokenPipeError:
        pass  # psql ended early and has said why
    except BaseException:
        psql.kill()
        raise
    finally:
        code = psql.wait()
        why = complaints.gist()
        answers.gist()
    if code:
        raise BackupError(f"{archive.name} could not be put back into {masked(url)}: {why}; nothing was changed there")


def _script(programs: ClientPrograms, archive: Path, use_list: Path, server: str) -> Iterator[bytes]:
    """Yield the archive's listed entries as SQL.

    Raises
    ------
    BackupError
        The archive can't be read to its end.
    """
    process = programs.start_reading("pg_restore", "--no-owner", f"--use-list={use_list}", "--file=-", str(archive))
    assert process.stdout is not None
    complaints = listen(process.stderr)
    try:
        yield for_server(server, process.stdout.read(CHUNK))
        while piece := process.stdout.read(CHUNK):
            yield piece
    finally:
        process.stdout.close()  # a pg_restore that nobody reads any more ends by itself
        code = process.wait()
        why = complaints.gist()
    if code:
        raise BackupError(f"pg_restore can't read {archive.name}: {why}")


@contextmanager
def scratch(url: str, administrator: str) -> Iterator[str]:
    """Make an empty database beside another for as long as the block runs; yield its URL.

    Parameters
    ----------
    url
        libpq URL of the database that stands beside it; its role owns the new one as well.
    administrator
        libpq URL, on the same server, of a role that may make databases.

    Raises
    ------
    BackupError
        The role may not.
    WarehouseUnavailable
        The server does not answer.
    """
    parameters = psycopg.conninfo.conninfo_to_dict(url)
    # One name for each database: what a killed verification left is found and dropped by the next.
    name = f"qm_scratch_{parameters['dbname']}"[:63]
    drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
    make = sql.SQL("CREATE DATABASE {} TEMPLATE template0 OWNER {}").format(
        sql.Identifier(name), sql.Identifier(str(parameters["user"]))
    )
    with _connect(administrator) as connection:
        try:
            connection.execute(drop)
            connection.execute(make)
        except psycopg.errors.InsufficientPrivilege as error:
            raise BackupError(
                f"no scratch database on {masked(administrator)}: {error.diag.message_primary}; give the role CREATEDB"
            ) from None
        try:
            yield urlunsplit(urlsplit(url)._replace(path=f"/{quote(name)}"))
        finally:
            connection.execute(drop)


@contextmanager
def _connect(url: str) -> Iterator[psycopg.Connection[Any]]:
    try:
        connection = psycopg.connect(url, autocommit=True, application_name="quantmatrix restore", connect_timeout=10)
    except psycopg.OperationalError as error:
        raise WarehouseUnavailable(f"the database {masked(url)} does not answer: {error}") from None
    with connection:
        yield connection
