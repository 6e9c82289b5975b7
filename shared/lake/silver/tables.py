"""The silver tables of a version line: their columns, and the rows that an event becomes."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel, RootModel
from pydantic_core import to_json

from shared.classification import Classification, Plan, plan_of
from shared.encryption import ProtectionError, encrypted_bytes, is_encrypted_text, key_id_of
from shared.messages import CloudEvent, Silver, rfc3339
from shared.privacy import token_name
from shared.streams import StreamEvent

from .types import TEXT, Column, Misfit, Type, bare_type, json_name, of_annotation

if TYPE_CHECKING:
    from arro3.core import Schema

__all__ = ["DAY", "ENVELOPE", "SUBJECT_KEY", "SilverLine", "SilverTable", "WrongSilver", "lines_of"]

DAY = "event_day"
"""The column by which tables are partitioned: the day of the event's time, in UTC."""
SUBJECT_KEY = "subject_key"
"""The column with the id of the key under which a row's protected fields are, where that is a person's own."""
NUMBER = Column("number", (), Type("long"))
"""Of a row that is an element of a list: its place there, from 1."""
ENVELOPE = (
    Column("event_id", (), TEXT),
    Column("event_time", (), Type("timestamp")),
    Column(DAY, (), Type("date")),
    Column("event_version", (), TEXT),
    Column("key", (), TEXT),
    Column("sequence", (), Type("long")),
    Column("log_partition", (), TEXT),
    Column("log_sequence", (), Type("long")),
)
"""What each row has of its event: `sequence` counts the events of its key, `log_sequence` those of its partition."""


class WrongSilver(TypeError):
    """A declaration that can't be followed; the message names the event type and the field."""


@dataclass(frozen=True)
class SilverTable:
    """A table.

    Attributes
    ----------
    path:
        JSON names that lead to the list whose elements are its rows; empty where an event is one row.
    columns:
        Those of the model, without the envelope's.
    protected:
        Names of the columns whose values are encrypted as the event has them, and None for each or its token's column.
    subject:
        The column that names the person, in clear where nothing is encrypted.
    levels:
        Of the protected columns, how sensitive each is.
    """

    name: str
    path: tuple[str, ...]
    columns: tuple[Column, ...]
    protected: tuple[tuple[str, str | None], ...] = ()
    subject: str | None = None
    levels: tuple[tuple[str, Classification], ...] = ()

    @property
    def all_columns(self) -> tuple[Column, ...]:
        """Every column, in order."""
        number = (NUMBER,) if self.path else ()
        tokens = tuple(Column(token, (), TEXT) for _, token in self.protected if token is not None)
        key = (Column(SUBJECT_KEY, (), TEXT),) if self.subject is not None else ()
        return (*ENVELOPE, *number, *self.columns, *tokens, *key)

    def schema(self) -> "Schema":
        """The Arrow schema: every column takes null, so that later ones can be added."""
        from arro3.core import Field, Schema

        return Schema([Field(one.name, one.type.arrow(), nullable=True) for one in self.all_columns])

    def rows(self, data: Any, erased: Collection[str] = ()) -> Iterator[bytes]:
        """The own columns of each row of an event's data as JSON members, `"sku":"x",…`.

        Parameters
        ----------
        erased:
            Keys of persons who were erased: what is encrypted under them is left out, and so is what leads to them.

        Raises
        ------
        Misfit
        """
        if not self.path:
            yield self._row(data, "", erased)
            return
        elements = _at(data, self.path)
        if elements is None:
            return
        if not isinstance(elements, list):
            raise Misfit(f"{'.'.join(self.path)} is no list")
        for number, element in enumerate(elements, 1):
            yield b'"number":%d,%b' % (number, self._row(element, f"{self.path[-1]} {number}: ", erased))

    def _row(self, value: Any, where: str, erased: Collection[str]) -> bytes:
        if not isinstance(value, dict):
            raise Misfit(f"{where or 'the data '}is no object")
        found: dict[str, Any] = {}
        for name, path, first, read, required in self._readers:
            given = value.get(first) if len(path) == 1 else _at(value, path)
            if given is None:
                if required:
                    raise Misfit(f"{where}{'.'.join(path)} is missing")
                continue
            try:
                found[name] = read(given)
            except Misfit as error:
                raise Misfit(f"{where}{'.'.join(path)} {error}") from None
        if self.protected:
            self._add_protection(value, found)
            if found.get(SUBJECT_KEY) in erased:
                for column in (*(one for pair in self.protected for one in pair), SUBJECT_KEY):
                    found.pop(str(column), None)
        return to_json(found)[1:-1]

    @cached_property
    def _readers(self) -> list[tuple[str, tuple[str, ...], str, Callable[[Any], Any], bool]]:
        return [(one.name, one.path, one.path[0], one.type.read, one.required) for one in self.columns]

    def _add_protection(self, value: Any, found: dict[str, Any]) -> None:
        paths = {column.name: column.path for column in self.columns}
        for name, token in self.protected:
            text = found.get(name)
            if token is not None and text is not None:
                *above, last = paths[name]
                beside = _at(value, (*above, token_name(last)))
                found[token] = beside if isinstance(beside, str) else None
            if self.subject is not None and SUBJECT_KEY not in found and text is not None and is_encrypted_text(text):
                try:
                    key_id = key_id_of(encrypted_bytes(text))
                except (ProtectionError, ValueError):
                    raise Misfit(f"{'.'.join(paths[name])} is encrypted and can't be read") from None
                if "~" in key_id:
                    found[SUBJECT_KEY] = key_id


@dataclass(frozen=True, slots=True)
class SilverLine:
    """The tables of a version line of an event type; the first one has a row for each event."""

    event_type: str
    line: str
    tables: tuple[SilverTable, ...]

    @property
    def root(self) -> SilverTable:
        """The table with a row for each event, which is committed last."""
        return self.tables[0]

    @property
    def quarantine(self) -> str:
        """The name of the table of what doesn't fit."""
        return self.root.name


def envelope_of(event: CloudEvent, received: StreamEvent) -> bytes:
    """The envelope's columns of a row as JSON members."""
    moment = rfc3339(event.time)
    found = {
        "event_id": event.id,
        "event_time": moment,
        DAY: moment[:10],
        "event_version": event.version,
        "key": event.subject,
        "sequence": event.sequence,
        "log_partition": received.partition,
        "log_sequence": received.sequence_number,
    }
    return to_json(found)[1:-1]


def lines_of(declared: Sequence[Silver]) -> list[SilverLine]:
    """The tables of all declarations.

    Raises
    ------
    WrongSilver
        Two of them clash, or one can't be followed.
    """
    ordered = sorted(declared, key=lambda one: (one.event_type, int(one.line), _numbers(one.version)))
    lines = [
        _line(event_type, line, list(versions))
        for (event_type, line), versions in groupby(ordered, key=lambda one: (one.event_type, one.line))
    ]
    owners: dict[str, str] = {}
    for line in lines:
        for table in line.tables:
            if (other := owners.setdefault(table.name, line.event_type)) != line.event_type or (
                [one.name for one in line.tables].count(table.name) > 1
            ):
                raise WrongSilver(f"silver.{table.name} is of {other} and of {line.event_type}")
    return lines


def _numbers(version: str) -> list[int]:
    return [int(one) for one in version.split(".")]


def _line(event_type: str, line: str, versions: Sequence[Silver]) -> SilverLine:
    made = [_tables(one) for one in versions]
    merged: dict[str, SilverTable] = {}
    for tables in made:
        for table in tables:
            earlier = merged.get(table.name)
            merged[table.name] = table if earlier is None else _merged(event_type, earlier, table)
    return SilverLine(event_type, line, tuple(merged.values()))


def _merged(event_type: str, earlier: SilverTable, later: SilverTable) -> SilverTable:
    """The columns of both: what only one version has isn't required."""
    columns: dict[str, Column] = {one.name: one for one in earlier.columns}
    for one in later.columns:
        before = columns.get(one.name)
        if before is not None and (before.type, before.path) != (one.type, one.path):
            raise WrongSilver(f"silver.{later.name}: {one.name} of {event_type} changes its type: make it a new line")
        required = one.required and before is not None and before.required
        columns[one.name] = Column(one.name, one.path, one.type, required)
    both = {one.name for one in earlier.columns} & {one.name for one in later.columns}
    relaxed = [Column(one.name, one.path, one.type, one.required and one.name in both) for one in columns.values()]
    protected = tuple(dict.fromkeys((*earlier.protected, *later.protected)))
    levels = tuple(sorted(dict(sorted((*earlier.levels, *later.levels))).items()))  # of two levels the higher one
    return SilverTable(later.name, later.path, tuple(relaxed), protected, later.subject or earlier.subject, levels)


def _tables(declared: Silver) -> list[SilverTable]:
    wrong: Callable[[str, str], WrongSilver] = lambda field, why: WrongSilver(  # noqa: E731
        f"silver of {declared.event_type}: {declared.model.__name__}.{field}: {why}"
    )
    root = _Reader(declared, wrong)
    root.read(declared.model, plan_of(declared.model), (), "", nested=declared.tables)
    tables = [root.table(declared.table, ())]
    for name in declared.tables:
        info = declared.model.model_fields[name]
        kind = of_annotation(info.annotation, info.metadata)
        element = _model_of_list(info.annotation)
        if element is None or kind.element is None or kind.element.name != "struct":
            raise wrong(name, "a table of its own takes a list of models")
        own = _Reader(declared, wrong)
        plan = plan_of(declared.model).fields.get(json_name(name, info))
        own.read(element, (plan.items if plan is not None and plan.items is not None else Plan()), (), "", nested=())
        tables.append(own.table(f"{declared.table}_{name}", (json_name(name, info),)))
    return tables


class _Reader:
    """Reads the columns of a model; models in it are flattened, their columns named after both fields."""

    def __init__(self, declared: Silver, wrong: Callable[[str, str], WrongSilver]) -> None:
        self._wrong = wrong
        self._columns: list[Column] = []
        self._protected: list[tuple[str, str | None]] = []
        self._levels: list[tuple[str, Classification]] = []
        self._subject: str | None = None
        self._models: list[type[BaseModel]] = []

    def read(
        self, model: type[BaseModel], plan: Plan, path: tuple[str, ...], prefix: str, *, nested: Sequence[str]
    ) -> None:
        """Add the columns of a model that stands at a path."""
        self._models.append(model)
        for name, info in model.model_fields.items():
            if name in nested:
                continue
            json = json_name(name, info)
            below = plan.fields.get(json)
            column = f"{prefix}{name}".lower()
            here = (*path, json)
            required = info.is_required() and not path
            if below is not None and below.leaf is not None:
                self._add(Column(column, here, Type("text"), required))
                token = f"{column}_token" if below.leaf.token is not None else None
                self._protected.append((column, token))
                self._levels.append((column, below.leaf.level))
                if plan.subject is not None and plan.subject[0] == json:
                    self._note_subject(column, name)
                continue
            inner = _model_of(info.annotation)
            if inner is not None and inner not in self._models:
                self.read(inner, below or Plan(), here, f"{column}_", nested=())
                continue
            if below is not None and below.protects:
                raise self._wrong(name, "holds protected fields; give the list a table of its own")
            kind = Type("json") if inner is not None else of_annotation(info.annotation, info.metadata)
            self._add(Column(column, here, kind, required))
            if plan.subject is not None and plan.subject[0] == json:
                self._note_subject(column, name)
        self._models.pop()

    def _note_subject(self, column: str, field: str) -> None:
        if self._subject is not None:
            raise self._wrong(field, "a second person in one row; give one a table of its own")
        self._subject = column

    def _add(self, column: Column) -> None:
        taken = {one.name for one in (*ENVELOPE, NUMBER, *self._columns)} | {SUBJECT_KEY}
        if column.name in taken:
            raise self._wrong(column.name, "another column of the table has that name")
        self._columns.append(column)

    def table(self, name: str, path: tuple[str, ...]) -> SilverTable:
        """The table of what was read."""
        tokens = {token for _, token in self._protected if token is not None}
        if clash := tokens & {one.name for one in self._columns}:
            raise self._wrong(min(clash), "a token's column has that name")
        return SilverTable(name, path, tuple(self._columns), tuple(self._protected), self._subject, tuple(self._levels))


def _model_of(annotation: Any) -> type[BaseModel] | None:
    """The one model that a field holds, if it holds one."""
    kind = bare_type(annotation)
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) and not issubclass(kind, RootModel) else None


def _model_of_list(annotation: Any) -> type[BaseModel] | None:
    arguments = get_args(bare_type(annotation))
    return _model_of(arguments[0]) if arguments else None


def _at(value: Any, path: Sequence[str]) -> Any:
    for name in path:
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value
