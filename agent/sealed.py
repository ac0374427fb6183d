"""Rows whose content only the device's key opens, each bound to its table, number and day.

Place in the life of a record: codec → **here** (cipher and rows together) → disk.
"""

from typing import Final

from agent.cipher import Cipher
from agent.errors import DamagedRecord
from agent.rows import Row, Rows, Table

_NAMES: Final[dict[Table, str]] = {
    "windows": "window",
    "gaps": "gap",
    "spends": "spend of the privacy budget",
    "outbox": "report",
    "pseudonyms": "pseudonym",
    "answers": "questionnaire",
}


class Sealed:
    """A connection's rows under a cipher; it writes inside the caller's transaction."""

    def __init__(self, rows: Rows, cipher: Cipher) -> None:
        self.rows = rows
        self.cipher = cipher

    def add(self, table: Table, day: int, content: bytes) -> None:
        """Seal content into a new row."""
        number = self.rows.next_number(table)
        self.rows.insert(table, (number, day, self._closed(table, number, day, content)))

    def replace(self, table: Table, number: int, day: int, content: bytes) -> None:
        """Seal other content into a row that exists."""
        self.rows.replace(table, (number, day, self._closed(table, number, day, content)))

    def opened(self, table: Table, row: Row) -> bytes:
        """The content of a row.

        Raises:
            DamagedRecord: it was altered or moved.
        """
        number, day, sealed = row
        try:
            return self.cipher.open(sealed, _place(table, number, day))
        except DamagedRecord as damage:
            raise named(table, row, damage) from None

    def single(self, name: str) -> bytes | None:
        """The content of what there is one of, None where there is none.

        Raises:
            DamagedRecord: it was altered.
        """
        sealed = self.rows.single(name)
        return None if sealed is None else self.cipher.open(sealed, _single_place(name))

    def set_single(self, name: str, content: bytes) -> None:
        """Seal what there is one of."""
        self.rows.set_single(name, self.cipher.close(content, _single_place(name)))

    def _closed(self, table: Table, number: int, day: int, content: bytes) -> bytes:
        return self.cipher.close(content, _place(table, number, day))


def named(table: Table, row: Row, damage: DamagedRecord) -> DamagedRecord:
    """The damage of a row, with its kind and number."""
    return DamagedRecord(f"The stored {_NAMES[table]} {row[0]} can't be read.", damage.remedy)


def _place(table: Table, number: int, day: int) -> bytes:
    return f"row/{table}/{number}/{day}".encode()


def _single_place(name: str) -> bytes:
    return f"single/{name}".encode()
