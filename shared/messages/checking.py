"""What is checked of a declaration before it counts; each raises what names the declaration."""

import inspect
import re
from collections.abc import Callable
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel

from shared.classification import WrongMarkers, plan_of

__all__ = [
    "check_erasable",
    "check_key",
    "check_name",
    "check_version",
    "checked_route",
    "model_of",
    "row_and_absence",
]


def model_of(call: Callable[..., Any], owner: str) -> type[BaseModel]:
    parameters = list(inspect.signature(call).parameters)
    name = getattr(call, "__name__", "handler")
    try:
        hints = get_type_hints(call)
    except NameError as error:
        raise TypeError(f"{owner}.{name}: its annotations: {error}") from None
    model = hints.get(parameters[0]) if parameters else None
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        raise TypeError(f"{owner}.{name}: annotate the first parameter with a pydantic model")
    return model


def row_and_absence(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """The model that an annotation names, if it does, and whether it says that there may be none."""
    options = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    models = [one for one in options if isinstance(one, type) and issubclass(one, BaseModel)]
    return (models[0] if len(models) == 1 else None), NoneType in options


def check_key(model: type[BaseModel], key: str) -> None:
    """A key names rows, partitions and sessions in clear."""
    plan = plan_of(model)
    if key in plan.fields or key in plan.spellings:
        raise WrongMarkers(
            f"{model.__name__}.{key}: a protected field can't be the key, which stands in clear in rows and headers"
        )


def check_erasable(model: type[BaseModel]) -> None:
    if lasting := plan_of(model).lasting():
        raise WrongMarkers(
            f"{model.__name__}.{lasting[0]}: a protected field about a person is None once that person is erased; "
            "let it take None"
        )


def check_version(version: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", version):
        raise ValueError(f"version {version!r}: use 1 to 64 letters, digits, dots, hyphens and underscores")


def checked_route(route: str) -> str:
    path = route.strip("/")
    if not re.fullmatch(r"[a-z][a-z0-9-]*(/[a-z0-9-]+)*", path):
        raise ValueError(f"route {route!r}: use lower-case letters, digits and hyphens, with / between segments")
    return path


def check_name(event_type: str) -> None:
    if not re.fullmatch(r"[\x21-\x7e]{1,128}", event_type):
        raise ValueError(f"event type {event_type!r}: use 1 to 128 printable characters without spaces")
