"""Every error that this package raises on purpose: one root, a small tree under it.

A message says what was asked, of whom, what came back and what to do. It never holds a secret. A module that needs a
new kind of failure adds it here, under the branch that its caller already handles.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class QuantMatrixError(Exception):
    """Root of all expected failures; the command line prints it as one line and exits with `exit_code`."""

    exit_code = 1


class ConfigurationError(QuantMatrixError):
    """A setting is missing, malformed or contradicts another; names the variable."""

    exit_code = 2


class NotASession(QuantMatrixError):
    """A date was named on which the exchange does not trade; names the nearest sessions."""

    exit_code = 2


class SessionNotClosed(QuantMatrixError):
    """A session was named that has not closed yet; names the newest that has."""

    exit_code = 2


class UnknownSymbol(QuantMatrixError):
    """No instrument bears this symbol."""

    exit_code = 2


class SymbolConflict(QuantMatrixError):
    """A name can't pass on as it was said: it is another instrument's, or passed on on another day."""

    exit_code = 2


class UnknownNight(QuantMatrixError):
    """No tracked set was recorded for a night; names the nearest ones."""

    exit_code = 2


class MembersUnknown(QuantMatrixError):
    """Who was in an index on a day is not known; names the days on which it is."""

    exit_code = 2


class NoBars(QuantMatrixError):
    """An instrument has no bar that could be used; says what is stored of it instead."""


class NoSuchRepair(QuantMatrixError):
    """A repair was named that does not exist, or that is already as it was to become."""

    exit_code = 2


class NoSuchAction(QuantMatrixError):
    """A corporate action was named that does not exist, or that is already as it was to become."""

    exit_code = 2


class SchedulesInvalid(QuantMatrixError):
    """A schedules file, or a change of one, is wrong.

    Parameters
    ----------
    source
        The file, or whatever the entries came in.
    faults
        One line each, naming entry and field.
    """

    exit_code = 2

    def __init__(self, source: str, faults: Sequence[str]) -> None:
        super().__init__(f"{source}: {'; '.join(faults)}")
        self.source = source
        self.faults = tuple(faults)


class SchedulesBusy(QuantMatrixError):
    """Somebody else has been changing schedules for longer than we were willing to wait."""

    exit_code = 3


class NoSuchSchedule(QuantMatrixError):
    """No entry has this name; names those there are."""

    exit_code = 2


class ChainBusy(QuantMatrixError):
    """Another process holds the lock of this step for longer than we were willing to wait."""

    exit_code = 3


# --- Dagster --------------------------------------------------------------------------------------------------------


class DagsterUnreachable(QuantMatrixError):
    """The running Dagster did not answer."""


class DagsterNotRunning(DagsterUnreachable):
    """Nobody listens where Dagster's web server should, or somebody else does."""


class DagsterRefused(QuantMatrixError):
    """Dagster answered with an error.

    Parameters
    ----------
    message
        What was asked, and what it said.
    kind
        The error's type in Dagster's GraphQL, such as `PipelineNotFoundError`.
    """

    def __init__(self, message: str, *, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


class NoSuchRun(QuantMatrixError):
    """Dagster keeps no run with this id."""

    exit_code = 2


# --- storage --------------------------------------------------------------------------------------------------------


class WarehouseError(QuantMatrixError):
    """The database could not do what was asked."""

    exit_code = 4


class TimeBudgetExceeded(WarehouseError):
    """Who asked may take only so long, and the database was not done by then."""


class WarehouseUnavailable(WarehouseError):
    """The database does not answer."""


class KnownNoMore(WarehouseError):
    """What was known at a moment can't be told any more: versions of then were given up."""

    exit_code = 2


class EmbeddedServerError(WarehouseError):
    """The embedded PostgreSQL can't be started, reached or stopped; says where its log is."""


class MigrationError(WarehouseError):
    """A migration failed, or an applied one was edited since."""


class BackupError(WarehouseError):
    """A backup could not be taken, read or put back; says what of it, and that nothing half done counts."""


class NoSuchBackup(QuantMatrixError):
    """No complete backup bears this name; names those that there are."""

    exit_code = 2


class NotEmpty(QuantMatrixError):
    """A restore would take the place of something; says of what, and the word that allows it."""

    exit_code = 2


# --- sources --------------------------------------------------------------------------------------------------------


class VendorError(QuantMatrixError):
    """A source did not serve what was asked.

    Parameters
    ----------
    vendor
        The source's name as in the vendor table (`yfinance`, `files`, ...).
    message
        What was asked, what came back, and what to do about it.
    symbol
        The canonical symbol concerned, where there is one.
    """

    exit_code = 5

    def __init__(self, vendor: str, message: str, *, symbol: str | None = None) -> None:
        super().__init__(f"{vendor}: {symbol}: {message}" if symbol else f"{vendor}: {message}")
        self.vendor = vendor
        self.symbol = symbol


class RateLimited(VendorError):
    """Too many calls just now; `retry_after` is in seconds where the vendor said it."""

    def __init__(
        self, vendor: str, message: str, *, symbol: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(vendor, message, symbol=symbol)
        self.retry_after = retry_after


class QuotaExhausted(VendorError):
    """The day's or month's allowance is used up."""


class BudgetTooSmall(VendorError):
    """One question counts as more calls than the whole budget has; no call was made."""


class AuthFailed(VendorError):
    """The key is missing, wrong or expired."""


class UnsupportedRequest(VendorError):
    """The source, or the plan, does not offer this."""


class SymbolNotFound(VendorError):
    """The source does not know this symbol."""


class MalformedResponse(VendorError):
    """The answer can't be read as what it should be: truncated, wrong types, an HTML page, another symbol's data."""


class StaleResponse(VendorError):
    """The answer ends before the session that was asked for."""


class VendorUnavailable(VendorError):
    """No connection (`reached` is False then), a time-out, or a server error."""

    def __init__(self, vendor: str, message: str, *, symbol: str | None = None, reached: bool = True) -> None:
        super().__init__(vendor, message, symbol=symbol)
        self.reached = reached


class CircuitOpen(VendorError):
    """The vendor failed too often lately and is left alone for a while; no call was made."""


class NotServed(VendorError):
    """Nobody could serve a symbol in this run; says who was asked and who was not, and why. The next run asks again."""


class NobodyServes(QuantMatrixError):
    """No vendor can serve a question.

    Parameters
    ----------
    what
        What was asked.
    reasons
        Vendor -> why it was skipped, or what it said.
    """

    exit_code = 5

    def __init__(self, what: str, reasons: Mapping[str, str]) -> None:
        told = "; ".join(f"{vendor}: {why}" for vendor, why in reasons.items()) or "the policy names no vendor for it"
        super().__init__(f"nobody can serve {what}: {told}")
        self.reasons = dict(reasons)
