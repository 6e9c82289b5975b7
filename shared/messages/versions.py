"""Earlier versions of a message: brought to the one that a handler takes when they are read; stored as they came."""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from shared.classification import WrongMarkers, plan_of

from .errors import InvalidMessage, MessageError

__all__ = ["Upcaster", "brought_up", "chains_to"]


@dataclass(frozen=True, kw_only=True)
class Upcaster:
    """Makes the data of one version of a message that of a later one.

    Attributes
    ----------
    model:
        The contract of the earlier version, where it is still checked and described.
    call:
        A pure function from the data as a dict to the data of the later version.
    """

    event_type: str
    version: str
    to: str
    model: type[BaseModel] | None = None
    call: Callable[[dict[str, Any]], dict[str, Any]]


def chains_to(
    event_type: str, handled: Mapping[str, type[BaseModel]], upcasters: Iterable[Upcaster]
) -> dict[str, tuple[str, tuple[Upcaster, ...]]]:
    """Each earlier version → the version that is handled, and the steps to it.

    Parameters
    ----------
    handled:
        Version → the model of its handler.

    Raises
    ------
    ValueError, WrongMarkers
        A chain ends nowhere or goes round, a version is brought up twice, or is handled too; or what is protected in
        the version that is handled can't be found in the earlier one.
    """
    steps: dict[str, Upcaster] = {}
    for one in upcasters:
        if one.version in steps or one.version in handled:
            other = "handled as well" if one.version in handled else "brought up twice"
            raise ValueError(f"{event_type} {one.version} is {other}")
        steps[one.version] = one
    chains: dict[str, tuple[str, tuple[Upcaster, ...]]] = {}
    for version, first in steps.items():
        chain, at = [first], first.to
        while at not in handled:
            if at not in steps or len(chain) > len(steps):
                raise ValueError(f"{event_type} {version} is brought to {at}, which nobody handles")
            chain.append(steps[at])
            at = steps[at].to
        if plan_of(handled[at]).protects and (first.model is None or not plan_of(first.model).protects):
            raise WrongMarkers(
                f"{event_type} {version}: {handled[at].__name__} has protected fields; give `upcasts` the model of "
                f"{version}, with its own marked"
            )
        chains[version] = at, tuple(chain)
    return chains


def brought_up(data: Any, chain: Sequence[Upcaster]) -> dict[str, Any]:
    """The data of a message after every step; what it was made from stays as it is.

    Raises
    ------
    InvalidMessage
        It isn't what a step expects.
    """
    for step in chain:
        try:
            if not isinstance(data, dict):
                raise TypeError
            data = step.call(copy.deepcopy(data))
            if not isinstance(data, dict):
                raise TypeError
        except MessageError:
            raise
        except Exception as error:  # a user's function
            missing = f".{name}" if (name := _lacking(error, data, step)) else ""
            reason = "must be given" if missing else f"can't be brought from version {step.version} to {step.to}"
            finding = {"field": f"data{missing}", "message": reason}
            raise InvalidMessage(f"data{missing}: {reason}", details={"errors": [finding], "count": 1}) from error
    return dict(data)


def _lacking(error: Exception, data: Any, step: Upcaster) -> str:
    """The field that a step looked for in vain; empty for any other key, which may be a value of somebody's data.

    Without a model of the earlier version, a field is what the step's own code names.
    """
    name = error.args[0] if isinstance(error, KeyError) and error.args else None
    if not isinstance(name, str) or not isinstance(data, dict) or name in data:
        return ""
    if step.model is None:
        known = name in getattr(getattr(step.call, "__code__", None), "co_consts", ())
    else:
        known = any(name in (field, info.alias) for field, info in step.model.model_fields.items())
    return name if known else ""
