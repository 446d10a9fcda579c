"""pg_dump, pg_restore and psql: which ones fit a server, and running them without a password on any command line."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import threading
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import psycopg.conninfo

from quantmatrix_pipeline.errors import BackupError, EmbeddedServerError
from quantmatrix_pipeline.warehouse import embedded_programs


@dataclass(frozen=True)
class ClientPrograms:
    """PostgreSQL's client programs for one database."""

    folder: Path
    url: str

    @classmethod
    def fitting(cls, url: str, server: str) -> ClientPrograms:
        """Return programs that are at least as new as the server: the installed wheel's, else those in the PATH.

        Parameters
        ----------
        url
            libpq URL of the database that they shall talk to.
        server
            The server's version, such as 18.4.

        Raises
        ------
        BackupError
            There are none; pg_dump refuses a server that is newer than itself.
        """
        least = int(server.split(".")[0].split("devel")[0])
        found = []
        for program in _pg_dumps():
            major = _major(program)
            if major >= least:
                return cls(program.parent, url)
            found.append(f"{program} is of version {major}")
        raise BackupError(
            f"the server is PostgreSQL {server} and pg_dump must be at least as new: "
            f"{', '.join(found) or 'none is installed'}; put the bin folder of a PostgreSQL {least} client into PATH"
        )

    def start(self, name: str, *arguments: str, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        """Start a program that talks to the database, with a pipe from its output and from its complaints."""
        return self.start_reading(name, f"--dbname={self._without_password}", *arguments, stdin=stdin)

    def start_reading(self, name: str, *arguments: str, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        """Start a program that reads files only, with the same pipes."""
        return subprocess.Popen(  # noqa: S603 - PostgreSQL's programs with arguments of our own
            [str(self.folder / name), *arguments],
            env=self._environment,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, name: str, *arguments: str) -> bytes:
        """Run a program that reads files only; return what it says.

        Raises
        ------
        BackupError
            It fails; says what it complained of.
        """
        done = subprocess.run(  # noqa: S603 - as above
            [str(self.folder / name), *arguments], env=self._environment, capture_output=True, check=False
        )
        if done.returncode:
            raise BackupError(f"{name} failed: {embedded_programs.gist(done.stderr.decode(errors='replace'))}")
        return done.stdout

    @cached_property
    def _parameters(self) -> dict[str, Any]:
        return dict(psycopg.conninfo.conninfo_to_dict(self.url))

    @property
    def _without_password(self) -> str:
        # Everybody on the machine may read a command line; an environment only its own account.
        return psycopg.conninfo.make_conninfo("", **{k: v for k, v in self._parameters.items() if k != "password"})

    @property
    def _environment(self) -> dict[str, str]:
        named = {name: value for name, value in os.environ.items() if name.startswith("PG") or name == "HOME"}
        if password := self._parameters.get("password"):
            named["PGPASSWORD"] = password
        return {**named, "PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


def _pg_dumps() -> list[Path]:
    found = []
    # There is none on a machine with an external server that can't have the wheel.
    with contextlib.suppress(EmbeddedServerError):
        found.append(embedded_programs.program("pg_dump"))
    if in_path := shutil.which("pg_dump"):
        found.append(Path(in_path))
    return found


def _major(program: Path) -> int:
    said = subprocess.run([str(program), "--version"], capture_output=True, text=True, check=False).stdout  # noqa: S603
    match = re.search(r"(\d+)", said)
    return int(match.group(1)) if match else 0


def listen(pipe: IO[bytes] | None) -> Listener:
    """Read all that a program says on a pipe, beside whatever else it does: it may not wait for us to listen."""
    assert pipe is not None
    return Listener(pipe)


class Listener:
    """What a program says on one of its pipes."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe
        self._said = b""
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def gist(self) -> str:
        """Wait until the program has ended; return the last lines of what it said as one."""
        self._thread.join()
        self._pipe.close()
        return embedded_programs.gist(self._said.decode(errors="replace"))

    def _listen(self) -> None:
        self._said = self._pipe.read()
