"""Takes what leads to a person who was erased out of silver's rows; what is counted from them stays.

The values themselves can't be decrypted any more once the person's key is gone. Here the ciphertexts go too, the tokens
beside them and the key's id, by which a person's rows could still be found. The files in which they stood are deleted
once the retention of files is over.
"""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from shared.lake.tables import CommitConflict, LakeStore, Layer, TableMissing

from .tables import SUBJECT_KEY, SilverLine, SilverTable

if TYPE_CHECKING:
    from deltalake import DeltaTable

__all__ = ["erase_rows", "leading_rows"]

_TRIES = 5
_AT_ONCE = 200


async def erase_rows(
    store: LakeStore, lines: Sequence[SilverLine], *, keys: Collection[str], tokens: Collection[str] = ()
) -> int:
    """Empty the protected columns of the rows of persons; returns how many rows there were. Safe to do again.

    Parameters
    ----------
    keys:
        Ids of the keys that were erased. Rows under another key of the same person stay as they are.
    tokens:
        Of the persons: all of their rows, under whatever key.

    Raises
    ------
    LakeUnavailable, CommitConflict
        Some tables may be done.
    """
    total = 0
    for table in _about_persons(lines):
        for condition in _conditions(table, keys, tokens):
            total += await _erase(store, table, condition)
    return total


async def leading_rows(store: LakeStore, lines: Sequence[SilverLine], *, tokens: Collection[str]) -> dict[str, int]:
    """By table, how many rows lead to the persons with these tokens."""
    found: dict[str, int] = {}
    for table in _about_persons(lines):
        try:
            opened = await store.open(Layer.SILVER, table.name)
        except TableMissing:
            continue
        conditions = _conditions(table, (), tokens)
        found[table.name] = sum([await store.run(Layer.SILVER, table.name, _count, opened, one) for one in conditions])
    return found


def _about_persons(lines: Sequence[SilverLine]) -> list[SilverTable]:
    return [table for line in lines for table in line.tables if table.subject is not None]


def _conditions(table: SilverTable, keys: Collection[str], tokens: Collection[str]) -> list[str]:
    """What rows have to be, in the library's SQL. Ids and tokens are letters, digits and `._~-`; others are none."""
    own = dict(table.protected).get(table.subject or "")
    ids = sorted(key for key in keys if _is_plain(key))
    found = [f"{SUBJECT_KEY} IN ({_listed(ids[at : at + _AT_ONCE])})" for at in range(0, len(ids), _AT_ONCE)]
    for token in sorted(one for one in tokens if _is_plain(one)):
        by_token = f" OR {own} = '{token}'" if own is not None else ""
        found.append(f"starts_with({SUBJECT_KEY}, '{token}~'){by_token}")
    return found


def _is_plain(text: str) -> bool:
    return bool(text) and all(one.isascii() and (one.isalnum() or one in "._~-") for one in text)


def _listed(texts: Sequence[str]) -> str:
    return ", ".join(f"'{one}'" for one in texts)


async def _erase(store: LakeStore, table: SilverTable, condition: str) -> int:
    names = [name for pair in table.protected for name in pair if name is not None]
    nothing = dict.fromkeys((*names, SUBJECT_KEY), "NULL")
    for attempt in range(_TRIES):
        try:
            opened = await store.open(Layer.SILVER, table.name)
            return await store.run(Layer.SILVER, table.name, _update, opened, nothing, condition)
        except TableMissing:
            return 0
        except CommitConflict:  # rows came in, or files were put together
            if attempt + 1 == _TRIES:
                raise
    raise AssertionError("unreachable")


def _update(table: "DeltaTable", values: dict[str, str], condition: str) -> int:
    there = {field.name for field in table.schema().fields}
    return int(
        table.update(updates={name: value for name, value in values.items() if name in there}, predicate=condition)[
            "num_updated_rows"
        ]
    )


def _count(table: "DeltaTable", condition: str) -> int:
    from deltalake import QueryBuilder

    query = f"SELECT count(*) AS found FROM rows WHERE {condition}"  # noqa: S608
    return int(QueryBuilder().register("rows", table).execute(query).read_all()["found"].to_pylist()[0])
