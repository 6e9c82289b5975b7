"""A database whose changes are captured, as an integration declares it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from shared.environment import is_secret_name
from shared.jobs import Schedule, parse_schedule
from shared.messages import Declaration

__all__ = ["Postgresql"]

_NAME = re.compile(r"[a-z][a-z0-9-]{0,40}")
_TABLE = re.compile(r"[^.]{1,63}\..{1,63}")


@dataclass(frozen=True, eq=False)
class Postgresql(Declaration):
    """A PostgreSQL database, 15 or later, whose tables' changes become messages.

    Parameters
    ----------
    name:
        With `capture.` it names the job; with `sluice_` slot and publication in the database.
    tables:
        `schema.table` of each, for which some integration handles changes: never all that there are, since an update
        of a published table without a key fails in the customer's application.
    password:
        The secret of the key vault that has the user's password. Without, the app's identity is the user.
    every, follow:
        How often the job begins, and whether it then waits for changes until its time is up, or ends at the end of the
        log: an instance that is paid by the second is then free in between.

    Raises
    ------
    ValueError
        It can't be done; the message names it.

    Example
    -------
    >>> Postgresql("crm", tables=["public.customers"], password="crm-reader").slot
    'sluice_crm'
    """

    name: str
    tables: Sequence[str]
    password: str | None = None
    every: str = "5s"
    follow: bool = True

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"the database {self.name!r}: use lower-case letters, digits and hyphens")
        wrong = [one for one in self.tables if not _TABLE.fullmatch(one)]
        if isinstance(self.tables, str) or wrong or not self.tables or len(set(self.tables)) < len(self.tables):
            raise ValueError(f"{self.name}: name its tables, each once, as schema.table")
        if self.password is not None and not is_secret_name(self.password):
            raise ValueError(f"{self.name}: the password is named by its secret in the key vault")
        parse_schedule(self.every)

    @property
    def job(self) -> str:
        """The name of its job."""
        return f"capture.{self.name}"

    @property
    def schedule(self) -> Schedule:
        """When the job begins."""
        return parse_schedule(self.every)

    @property
    def slot(self) -> str:
        """The names of slot and publication."""
        return f"sluice_{self.name.replace('-', '_')}"
