"""What an integration declares of the lake's silver layer: the tables of an event type."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel

__all__ = ["Silver"]

_VERSION = re.compile(r"(?P<line>[0-9]+)(\.[0-9]+)*")


@dataclass(frozen=True)
class Silver:
    """An event type in one version, which is kept as rows.

    All versions of a line (1.0, 1.1) share their tables: fields that a later one adds are columns that older rows leave
    empty. A breaking change is a new line (2.0), and so a new table.

    Attributes
    ----------
    event_type, version:
        Of the event as it is published, for example `order.accepted` in `1.0`.
    model:
        Its columns are the model's fields, under their Python names.
    tables:
        Fields that are lists of models, and get a table of their own with a row for each element. Other lists are
        columns.
    """

    event_type: str
    version: str
    model: type[BaseModel]
    tables: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not _VERSION.fullmatch(self.version):
            raise ValueError(
                f"silver of {self.event_type}: the version {self.version!r} isn't numbers with dots between"
            )
        if isinstance(self.tables, str) or (unknown := set(self.tables) - self.model.model_fields.keys()):
            named = self.tables if isinstance(self.tables, str) else ", ".join(sorted(unknown))
            raise TypeError(f"silver of {self.event_type}: {self.model.__name__} has no list {named!r}")

    @property
    def line(self) -> str:
        """The version line: the version's first number."""
        return self.version.partition(".")[0]

    @property
    def table(self) -> str:
        """The name of its table: `order_accepted`, from the second line on with it: `order_accepted_v2`."""
        name = re.sub(r"[^a-z0-9]+", "_", self.event_type.lower()).strip("_")
        return name if self.line in ("0", "1") else f"{name}_v{self.line}"
