"""A slice of the settings: what one package reads from the environment, with the rules that its settings obey.

The app's settings inherit from all slices, so that one error names every missing or wrong setting of every package.
"""

import copy
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any, ClassVar, Self, TypeVar, cast, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model, model_validator

from .connections import Identity

__all__ = ["QueueName", "SettingsSlice", "WrongSettings", "contradiction", "listed"]

QueueName = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9./_-]{0,258}[A-Za-z0-9])?$")]

Rule = Callable[[Any], Iterator[str]]
T = TypeVar("T", bound=Rule)
S = TypeVar("S", bound="SettingsSlice")
_NEEDS = "__sluice_needs__"


class WrongSettings(ValueError):
    """One or more settings are missing or wrong; the message names every one of them."""


def contradiction(*fields: str) -> Callable[[T], T]:
    """Marks a method of a slice that yields what can't be so, each with the environment variables in it.

    Parameters
    ----------
    fields:
        Attributes that it looks at: where one of them is wrong or missing by itself, that alone is named.
    """

    def mark(rule: T) -> T:
        setattr(rule, _NEEDS, frozenset(fields))
        return rule

    return mark


class SettingsSlice(BaseModel):
    """Settings of one package. Attribute names are ours, aliases are the environment's."""

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True)
    checked: ClassVar[bool] = True

    def contradictions(self, wrong: frozenset[str] = frozenset()) -> Iterator[str]:
        """What can't be so together, but for rules that look at an attribute which is wrong by itself."""
        rules = {name: value for one in reversed(type(self).__mro__) for name, value in vars(one).items()}
        for rule in rules.values():
            needs = getattr(rule, _NEEDS, None)
            if needs is not None and not needs & wrong:
                yield from rule(self)

    @classmethod
    def with_slices(cls, slices: Iterable[type["SettingsSlice"]]) -> type[Self]:
        """These settings and those of more slices, in one model.

        Raises
        ------
        ValueError
            Two own one variable or attribute; the message names it and both.
        """
        bases: list[type[SettingsSlice]] = [cls]
        for one in slices:
            for other in bases:
                both = {*one.variables(), *one.model_fields} & {*other.variables(), *other.model_fields}
                if both:
                    raise ValueError(f"{other.__name__} and {one.__name__} both own {', '.join(sorted(both))}")
            bases.append(one)
        return cls if len(bases) == 1 else cast(type[Self], type(cls.__name__, tuple(bases), {"__doc__": cls.__doc__}))

    def slice(self, kind: type[S]) -> S:
        """These settings as one slice of them, for who knows that slice alone.

        Raises
        ------
        WrongSettings
            The slice isn't part of them.
        """
        if not isinstance(self, kind):
            raise WrongSettings(f"Wrong settings: {kind.__name__} isn't among the slices that were loaded")
        return self

    def resolved(self, name: str) -> str:
        """What a binding's `%SETTING%` stands for; any other name is what it is."""
        if not name.startswith("%"):
            return name
        fields = {one.alias: attribute for attribute, one in type(self).model_fields.items()}
        return str(getattr(self, fields[name.strip("%")]))

    @classmethod
    def variables(cls) -> tuple[str, ...]:
        """The environment's names of all its settings; a connection's are prefixes."""
        return tuple(field.alias or name for name, field in cls.model_fields.items())

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.checked and (found := list(self.contradictions())):
            raise ValueError("; ".join(found))
        return self

    @classmethod
    def load(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Read and check the settings of an environment (the process's own by default).

        Raises
        ------
        WrongSettings
            Names every missing or wrong setting and every contradiction at once, by its environment variable, never
            with its value.
        """
        variables = os.environ if environment is None else environment
        values: dict[str, Any] = {}
        for field in cls.model_fields.values():
            name = field.alias or ""
            if _is_connection(field.annotation):
                if (parts := _connection(name, variables)) or field.is_required():
                    values[name] = parts
            elif variables.get(name, "") != "":
                values[name] = variables[name]
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise WrongSettings(cls._explain(error, values)) from None

    @classmethod
    def _explain(cls, error: ValidationError, values: Mapping[str, Any]) -> str:
        lines, aliases = [], set()
        for item in error.errors(include_url=False, include_input=False, include_context=False):
            if item["loc"]:
                aliases.add(item["loc"][0])
                message = str(item["msg"]).removeprefix("Value error, ")
                name = "__".join(str(part) for part in item["loc"])
                lines.append(f"{name}: {'is missing' if item['type'] == 'missing' else message}")
        right = cls._lenient().model_validate({name: value for name, value in values.items() if name not in aliases})
        wrong = frozenset(name for name, field in cls.model_fields.items() if field.alias in aliases)
        return "Wrong settings: " + "; ".join(sorted({*lines, *right.contradictions(wrong)}))

    @classmethod
    def _lenient(cls) -> type[Self]:
        """The same settings, of which any may be missing: what is right can be looked at beside what is wrong."""
        fields: dict[str, Any] = {}
        for name, field in cls.model_fields.items():
            if field.is_required():
                optional = copy.copy(field)
                optional.default = None
                fields[name] = (field.annotation, optional)
        lenient: type[Self] = create_model(cls.__name__, __base__=cls, **fields)
        lenient.checked = False
        return lenient


def listed(names: str) -> tuple[str, ...]:
    """The names that a setting lists, separated by commas: each once, in order."""
    return tuple(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))


def _is_connection(annotation: Any) -> bool:
    kinds = get_args(annotation) or (annotation,)
    return any(isinstance(kind, type) and issubclass(kind, Identity) for kind in kinds)


def _connection(name: str, variables: Mapping[str, str]) -> dict[str, str]:
    prefix = f"{name}__"
    parts = {key[len(prefix) :]: value for key, value in variables.items() if key.startswith(prefix) and value}
    if variables.get(name):
        parts["connectionString"] = variables[name]
    return parts
