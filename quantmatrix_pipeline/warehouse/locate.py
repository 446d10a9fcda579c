"""Where the databases are: the server that QM_DATABASE_URL names, or the embedded one, with one URL per role."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from quantmatrix_pipeline.errors import ConfigurationError
from quantmatrix_pipeline.settings import Settings
from quantmatrix_pipeline.warehouse import migrations
from quantmatrix_pipeline.warehouse.embedded import SUPERUSER, EmbeddedServer

if TYPE_CHECKING:
    from quantmatrix_pipeline.warehouse.engine import Warehouse

# On a server of the user's, Dagster's own tables lie in this schema of the same database; migration 0001 makes it.
DAGSTER_SCHEMA = "dagster"


@dataclass(frozen=True, slots=True)
class Locations:
    """URLs for what each part of the system may do. All four are the same where the user named one server."""

    owner: str
    writer: str
    reader: str
    dagster: str


@dataclass(frozen=True, slots=True)
class Kept:
    """What of a database is ours to back up.

    Attributes
    ----------
    name
        `warehouse` or `dagster`.
    url
        For the owner of the tables.
    schema
        Where the tables lie.
    administrator
        For a role that may make databases beside it, where there is one.
    """

    name: str
    url: str
    schema: str
    administrator: str


def embedded(settings: Settings) -> EmbeddedServer:
    """Return the embedded server of this data folder, running or not."""
    return EmbeddedServer(settings.data_dir.resolve() / "postgres")


def locate(settings: Settings, *, start: bool = True) -> Locations:
    """Return where the databases are, starting the embedded server if it is the one and `start` is set.

    Raises
    ------
    ConfigurationError
        If QM_DATABASE_URL is no PostgreSQL URL.
    EmbeddedServerError
        If the embedded server can't be started.
    """
    if settings.database_url is not None:
        url = settings.database_url.get_secret_value()
        parts = urlsplit(url)
        if parts.scheme.split("+")[0] not in ("postgresql", "postgres") or not parts.path.strip("/"):
            raise ConfigurationError(
                "QM_DATABASE_URL must read postgresql://USER:PASSWORD@HOST:PORT/DATABASE;"
                f" it names the scheme {parts.scheme!r} and the database {parts.path.strip('/')!r}"
            )
        plain = urlunsplit(parts._replace(scheme="postgresql"))
        query = [*parse_qsl(parts.query), ("options", f"-csearch_path={DAGSTER_SCHEMA}")]
        dagster = urlunsplit(parts._replace(scheme="postgresql", query=urlencode(query, quote_via=quote)))
        return Locations(plain, plain, plain, dagster)
    server = embedded(settings)
    if start:
        server.start()
    return Locations(
        owner=server.url(role="qm_owner"),
        writer=server.url(role="qm_writer"),
        reader=server.url(role="qm_reader"),
        dagster=server.url(database="dagster", role="qm_owner"),
    )


def kept(settings: Settings) -> tuple[Kept, ...]:
    """Return the warehouse and Dagster's storage: two databases of the embedded server, two schemas of a user's."""
    where = locate(settings)
    if settings.database_url is not None:
        return (
            Kept("warehouse", where.owner, "public", where.owner),
            Kept("dagster", where.owner, DAGSTER_SCHEMA, where.owner),
        )
    administrator = embedded(settings).url("postgres", SUPERUSER)
    return (
        Kept("warehouse", where.owner, "public", administrator),
        Kept("dagster", where.dagster, "public", administrator),
    )


def upgrade(settings: Settings) -> list[str]:
    """Apply the pending migrations; return the names of those that were applied now."""
    return migrations.apply(locate(settings).owner, migrations.folder())


def open_writer(settings: Settings, *, budget_seconds: float | None = None) -> Warehouse:
    """Return the warehouse with the rights of those who write it, who may have a time budget."""
    # Here and below, since Dagster's servers and `qm up` come to this module for an address only: the drivers of the
    # warehouse would be 70 MB more in each of them.
    from quantmatrix_pipeline.warehouse.engine import Warehouse

    return Warehouse(locate(settings).writer, budget_seconds=budget_seconds)


def open_reader(settings: Settings, *, start: bool = True) -> Warehouse:
    """Return the warehouse for those who only read, whatever the rights of the user that QM_DATABASE_URL names.

    Raises
    ------
    EmbeddedServerError
        There is no embedded database yet: one without tables would answer nothing, so a reader makes none.
    """
    from quantmatrix_pipeline.warehouse.engine import Warehouse

    if settings.database_url is None:
        embedded(settings).version()
    return Warehouse(locate(settings, start=start).reader, read_only=True)
