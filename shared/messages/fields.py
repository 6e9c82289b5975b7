"""The fields of models by the names that they go by."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

__all__ = ["fields_to", "second_names"]


def fields_to(model: type[BaseModel], path: str) -> Iterator[tuple[type[BaseModel], str]]:
    """Each model on the way to a field, with the Python name of its field; raises LookupError where there is none."""
    whole = next((name for name, info in model.model_fields.items() if path in (name, info.alias)), None)
    if whole is not None:
        yield model, whole
        return
    first, _, rest = path.partition(".")
    name = next((name for name, info in model.model_fields.items() if first in (name, info.alias)), None)
    below = None if name is None or not rest else model.model_fields[name].annotation
    if name is None or not (isinstance(below, type) and issubclass(below, BaseModel)):
        raise LookupError(path)
    yield model, name
    yield from fields_to(below, rest)


def second_names(schema: Any) -> Iterator[str]:
    """Of each field in pydantic's schema that has an alias as well: its name."""
    if isinstance(schema, Mapping):
        for name, one in schema.items():
            if isinstance(one, Mapping) and one.get("validation_alias", name) != name:
                yield str(name)
            yield from second_names(one)
    elif isinstance(schema, list | tuple):
        for one in schema:
            yield from second_names(one)
