"""Settings for processes that live long: read again when their file changes, and kept when the new ones are wrong."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from quantmatrix_pipeline.errors import ConfigurationError
from quantmatrix_pipeline.settings.fields import Settings
from quantmatrix_pipeline.settings.loading import env_file, load

log = logging.getLogger(__name__)

_Version = tuple[int, int, int] | None  # time of change in ns, bytes, inode; None: no such file


class Reloading:
    """The settings in force in this process; any thread may ask.

    A file that is wrong, or gone, is refused whole: the settings read before stay in force until it is right again.
    A file is best replaced as a whole (`mv new old`), since one that is read half written may be wrong for a moment.

    Raises
    ------
    ConfigurationError
        If the settings are wrong from the start.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._file = env_file()
        self._seen = _version(self._file)
        self._settings = load()
        self._refused: str | None = None

    def current(self) -> Settings:
        """Return the settings in force, read again first if the file has changed; takes microseconds if it hasn't."""
        with self._lock:
            # Taken before reading: a change in between is then noticed by the next call.
            version = _version(self._file)
            if version != self._seen:
                self._seen = version
                self._read_again()
            return self._settings

    @property
    def refused(self) -> str | None:
        """Why the file's present content is not in force; None: it is, as of the last `current()`."""
        with self._lock:
            return self._refused

    def _read_again(self) -> None:
        try:
            self._settings = load()
        except ConfigurationError as error:
            self._refused = str(error)
            log.error("%s; the settings read before stay in force", error)
        else:
            self._refused = None
            log.info("settings read again from %s", self._file)


def _version(file: Path | None) -> _Version:
    if file is None:
        return None
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
