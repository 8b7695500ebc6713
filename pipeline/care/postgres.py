"""Dagster's history in PostgreSQL: what serves it, how large it is, and packing its tables.

The tables are Dagster's own; others in the same database are left alone.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg
from sqlalchemy import make_url, text
from sqlalchemy.engine import Connection
from sqlalchemy.exc import OperationalError

from pipeline.dagster_internals import postgres_tables

LOCK_SECONDS = 30
"""Maximum wait for another session that uses a table, in seconds."""
LOCK_NOT_AVAILABLE = "55P03"
"""PostgreSQL's code of a lock that was not had in time."""
REMAINS = (
    "PostgreSQL's write-ahead log still has what was deleted until it is recycled, and so may its "
    "replicas, archives, backups and logs of statements: they are yours to delete."
)
"""What a deletion does not reach, in words for a person."""
NOT_THE_OWNER = (
    "This user does not own the database, so the planner's statistics still have old values, and "
    "tables may: VACUUM (FULL, ANALYZE) as its owner."
)
"""What remains in addition where the user may not pack everything, in words for a person."""


@dataclass(frozen=True)
class Server:
    """The PostgreSQL server of the history.

    Attributes:
        version: of the server.
        place: database and address, without user and password.
        is_in_clear: whether the connection crosses a network unencrypted.
    """

    version: str
    place: str
    is_in_clear: bool


def server_of(instance: dg.DagsterInstance) -> Server:
    """Ask the server of the history who it is."""
    with postgres_tables(instance) as (connection, _):
        version, database, address, port, is_local, is_encrypted = connection.execute(
            text(
                "SELECT current_setting('server_version'), current_database(), "
                "host(inet_server_addr()), inet_server_port(), "
                "coalesce(inet_server_addr() = inet_client_addr(), true), "
                "(SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid())"
            )
        ).one()
    place = f"database {database} " + (f"at {address}:{port}" if address else "on this machine")
    return Server(version.split()[0], place, not is_local and not is_encrypted)


def has_password(settings: Mapping[str, Any]) -> bool:
    """Tell whether settings of the storage hold a password, not the name of a variable."""
    address, parts = settings.get("postgres_url"), settings.get("postgres_db") or {}
    in_address = isinstance(address, str) and make_url(address).password is not None
    return in_address or (isinstance(parts.get("password"), str) and bool(parts["password"]))


def tables_bytes(instance: dg.DagsterInstance) -> int:
    """Return the bytes of Dagster's tables, with their indexes."""
    with postgres_tables(instance) as (connection, tables):
        sizes = connection.execute(
            text(
                "SELECT sum(pg_total_relation_size(to_regclass(name))) "
                "FROM unnest(:names) AS t(name)"
            ),
            {"names": tables},
        )
        return int(sizes.scalar_one() or 0)


def pack(instance: dg.DagsterInstance) -> bool:
    """Write Dagster's tables anew without what was deleted, which PostgreSQL keeps until then.

    The planner's statistics hold frequent values of the rows, and are made anew as well. This needs
    the owner of the database.

    Returns:
        whether that was possible; False where another session uses them, or may still read what
        was deleted.
    """
    with postgres_tables(instance) as (connection, tables):
        if not _older_transactions_ended(connection):
            return False
        connection.execute(text(f"SET lock_timeout = '{LOCK_SECONDS}s'"))
        try:
            for table in tables:
                connection.execute(text(f'VACUUM (FULL, ANALYZE) "{table}"'))
                if connection.execute(text(f'SELECT NOT EXISTS (TABLE "{table}")')).scalar_one():
                    _drop_statistics(connection, table)
            connection.execute(text("VACUUM (FULL) pg_catalog.pg_statistic"))
        except OperationalError as error:
            if getattr(error.orig, "pgcode", None) != LOCK_NOT_AVAILABLE:
                raise
            return False
    return True


def remains(instance: dg.DagsterInstance) -> str:
    """Return what :func:`pack` does not reach, in words for a person."""
    with postgres_tables(instance) as (connection, _):
        owns = connection.execute(
            text(
                "SELECT pg_has_role(datdba, 'USAGE') FROM pg_database "
                "WHERE datname = current_database()"
            )
        ).scalar_one()
    return REMAINS if owns else f"{REMAINS} {NOT_THE_OWNER}"


def _drop_statistics(connection: Connection, table: str) -> None:
    """Delete what the planner knows of an empty table: values of its rows, which ANALYZE leaves.

    A change of a column's type deletes them, also one to the same type.
    """
    columns = connection.execute(
        text(
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
            "WHERE attrelid = to_regclass(:name) AND attnum > 0 AND NOT attisdropped"
        ),
        {"name": f'"{table}"'},
    ).all()
    changes = ", ".join(f'ALTER COLUMN "{name}" TYPE {kind}' for name, kind in columns)
    connection.execute(text(f'ALTER TABLE "{table}" {changes}'))


def _older_transactions_ended(connection: Connection) -> bool:
    """Wait until no transaction of this database is left that began before this call.

    VACUUM keeps a deleted row for those that may still read it.
    """
    began = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    older = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND backend_type = 'client backend' AND pid <> pg_backend_pid() AND xact_start < :began"
    )
    deadline = time.monotonic() + LOCK_SECONDS
    while connection.execute(older, {"began": began}).scalar_one():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True
