"""What orders a database's texts: its encoding and locale; a database of ours is made with the source's."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import sql

from archzero_lab.postgres.connection import Connection

_HAS_PROVIDERS = 15
_PROVIDERS = {"c": "libc", "i": "icu", "b": "builtin"}


@dataclass(frozen=True)
class Locale:
    """Encoding, provider (libc, icu or builtin), collation and character classes; `name` is the provider's own."""

    encoding: str
    provider: str
    collate: str
    ctype: str
    name: str | None = None

    def __str__(self) -> str:
        classes = "" if self.ctype == self.collate else f", letters of {self.ctype}"
        return f"{self.name or self.collate} ({self.provider}{classes}), {self.encoding}"

    def clause(self, version: int) -> sql.Composed:
        """What CREATE DATABASE says for it on a major version; before 15 a database's provider was libc."""
        provider = sql.SQL(f" LOCALE_PROVIDER {self.provider}" if version >= _HAS_PROVIDERS else "")
        made = sql.SQL("ENCODING {}{} LC_COLLATE {} LC_CTYPE {}").format(
            sql.Literal(self.encoding), provider, sql.Literal(self.collate), sql.Literal(self.ctype)
        )
        if self.name is not None:
            made += sql.SQL(" {} {}").format(sql.SQL(f"{self.provider.upper()}_LOCALE"), sql.Literal(self.name))
        return made


def read_locale(connection: Connection) -> Locale:
    """That of the connection's database."""
    version = connection.info.server_version // 10_000
    provider = "datlocprovider" if version >= _HAS_PROVIDERS else "'c'"
    name = "datlocale" if version >= 17 else "daticulocale" if version >= _HAS_PROVIDERS else "NULL"
    row = connection.execute(
        f"SELECT pg_encoding_to_char(encoding), {provider}, datcollate, datctype, {name} FROM pg_database"
        " WHERE datname = current_database()".encode()
    ).fetchone()
    assert row is not None
    encoding, letter, collate, ctype, own = row
    code = letter.decode() if isinstance(letter, bytes) else letter
    return Locale(encoding, _PROVIDERS[code], collate, ctype, own if code != "c" else None)
