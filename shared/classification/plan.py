"""What a model's annotations ask for, as a tree beside its JSON; made once for each model."""

import dataclasses
import types
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Annotated, Any, ForwardRef, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import AliasChoices, BaseModel, RootModel
from pydantic.fields import FieldInfo

from .markers import Classification, Subject, Tokenized

__all__ = ["Leaf", "Plan", "WrongMarkers", "plan_of"]

_UNIONS = (Union, types.UnionType)
_SCALARS = "a text, a number, a UUID or a date"


class WrongMarkers(TypeError):
    """The markers of a model can't be followed; the message names the field."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """A protected field: its whole value, whatever it holds, is one secret.

    Attributes
    ----------
    nullable:
        The model takes None there, so the value can be erased.
    """

    level: Classification
    token: Tokenized | None = None
    nullable: bool = False


@dataclass(slots=True, eq=False)
class Plan:
    """What is to be done with a value: nothing below an empty plan.

    Attributes
    ----------
    leaf:
        The value itself is protected.
    fields:
        JSON name → plan, where the value is an object with known names.
    spellings:
        Other names under which the same fields may come in.
    items, values:
        The plan of every element of a list, or of every value of an object with any names.
    subject:
        JSON name and marker of the field that says whom the protected fields of this object are about.
    protects:
        Anything is protected here or below.
    """

    leaf: Leaf | None = None
    fields: dict[str, "Plan"] = field(default_factory=dict)
    spellings: dict[str, "Plan"] = field(default_factory=dict)
    items: "Plan | None" = None
    values: "Plan | None" = None
    subject: tuple[str, Subject] | None = None
    protects: bool = False

    @property
    def tokenized(self) -> dict[str, Tokenized]:
        """JSON name → marker, of the object's own fields by whose tokens it is found."""
        markers = {name: plan.leaf.token for name, plan in self.fields.items() if plan.leaf and plan.leaf.token}
        return {name: marker for name, marker in markers.items() if not marker.keep_format}

    def subjects(self, kind: str | None = None) -> frozenset[str]:
        """Names, in every spelling, of the fields here and below that say whom something is about; of a kind or any."""
        found: set[str] = set()
        seen: set[int] = set()
        waiting = [self]
        while waiting:
            plan = waiting.pop()
            if id(plan) in seen:
                continue
            seen.add(id(plan))
            if plan.subject is not None and kind in (None, plan.subject[1].kind):
                own = plan.fields.get(plan.subject[0])
                found.add(plan.subject[0])
                found |= {name for name, other in plan.spellings.items() if own is not None and other.leaf == own.leaf}
            waiting += plan._children()
        return frozenset(found)

    def lasting(self) -> list[str]:
        """JSON names of protected fields about a person that don't take None, so that they could never be erased."""
        return [".".join(path) for path in self._lasting((), False, frozenset())]

    def _lasting(self, path: tuple[str, ...], personal: bool, seen: frozenset[int]) -> Iterator[tuple[str, ...]]:
        if id(self) in seen:
            return
        if self.leaf is not None:
            if personal and not self.leaf.nullable:
                yield path
            return
        personal = personal or self.subject is not None
        below = [*self.fields.items(), ("[]", self.items), ("{}", self.values)]
        for name, child in below:
            if child is not None:
                yield from child._lasting((*path, name), personal, seen | {id(self)})

    def _children(self) -> Iterator["Plan"]:
        yield from self.fields.values()
        yield from (child for child in (self.items, self.values) if child is not None)


@lru_cache(maxsize=1_024)
def plan_of(model: type[BaseModel]) -> Plan:
    """The plan of a model.

    Raises
    ------
    WrongMarkers
        Markers contradict each other, or stand where they can't be followed.
    """
    reader = _Reader()
    plan = reader.model(model)
    reader.prune()
    return plan


class _Reader:
    """Reads a model and the models in it; one that holds itself gets one plan, which holds itself."""

    def __init__(self) -> None:
        self._models: dict[type[BaseModel], Plan] = {}
        self._plans: list[Plan] = []

    def _new(self) -> Plan:
        plan = Plan()
        self._plans.append(plan)
        return plan

    def model(self, model: type[BaseModel]) -> Plan:
        if model in self._models:
            return self._models[model]
        plan = self._models[model] = self._new()
        for name, info in model.model_fields.items():
            self._field(model, plan, name, info)
        for name, computed in model.model_computed_fields.items():
            where = f"{model.__name__}.{name}"
            found = self._type(computed.return_type, where)
            if found is not None:
                plan.fields[computed.alias or name] = found
        if issubclass(model, RootModel):
            return self._root(model, plan)
        if plan.fields and model.__pydantic_decorators__.model_serializers:
            raise WrongMarkers(f"{model.__name__}: a model serializer changes its shape; mark fields of what it writes")
        return plan

    def _root(self, model: type[BaseModel], plan: Plan) -> Plan:
        inner = plan.fields.pop("root", None)
        plan.spellings.clear()
        if plan.subject is not None:
            raise WrongMarkers(f"{model.__name__}.root: a Subject names a field among others")
        if inner is not None and inner.leaf is not None:
            raise WrongMarkers(f"{model.__name__}: mark the fields that hold this model, not its root")
        if inner is not None:
            self._into(plan, inner, model.__name__)
        return plan

    def _field(self, model: type[BaseModel], plan: Plan, name: str, info: FieldInfo) -> None:
        where = f"{model.__name__}.{name}"
        found = self._type(info.annotation, where, info.metadata)
        subjects = [marker for marker in _markers(info.annotation, info.metadata) if isinstance(marker, Subject)]
        json_name = info.serialization_alias or info.alias or name
        if subjects:
            if plan.subject is not None or len(subjects) > 1:
                raise WrongMarkers(f"{where}: {model.__name__} has a Subject already; an object is about one person")
            if not _is_scalar(info.annotation):
                raise WrongMarkers(f"{where}: a Subject is {_SCALARS}")
            plan.subject = (json_name, subjects[0])
        if found is None:
            return
        plan.fields[json_name] = found
        for other in _other_names(info, name, where):
            plan.spellings[other] = found

    def _type(self, annotation: Any, where: str, metadata: Iterable[Any] = ()) -> Plan | None:
        """The plan of a type with its markers, or None where there is nothing in it."""
        markers = _markers(annotation, metadata)
        level = _level(markers, where)
        tokens = [marker for marker in markers if isinstance(marker, Tokenized)]
        inner = self._inside(annotation, where)
        if not level.protected:
            if tokens:
                raise WrongMarkers(f"{where}: Tokenized without Confidential or Restricted protects nothing")
            return inner
        if inner is not None and (highest := _highest(inner)) > level:
            raise WrongMarkers(f"{where}: holds {highest.name.lower()} fields, so it can't be {level.name.lower()}")
        if len(tokens) > 1 or (tokens and not _is_scalar(annotation)):
            raise WrongMarkers(f"{where}: one Tokenized, and on {_SCALARS}")
        plan = self._new()
        plan.leaf = Leaf(level, tokens[0] if tokens else None, _is_nullable(annotation))
        return plan

    def _inside(self, annotation: Any, where: str) -> Plan | None:
        """What stands within a type: members of a union, elements, values, fields of a model."""
        annotation, _ = _bare(annotation)
        origin, arguments = get_origin(annotation), get_args(annotation)
        if origin in _UNIONS:
            return self._union([self._type(one, where) for one in _members(annotation)], where)
        if isinstance(annotation, type) and origin is None:
            if issubclass(annotation, BaseModel):
                return self.model(annotation)
            self._refuse_foreign(annotation, where)
            return None
        if isinstance(origin, type) and issubclass(origin, Mapping):
            name, value = (*arguments, Any, Any)[:2]
            if self._type(name, where) is not None:
                raise WrongMarkers(f"{where}: the names of an object can't be protected; mark the whole field")
            return self._around(self._type(value, where), "values", where)
        if isinstance(origin, type) and issubclass(origin, Iterable):
            found = [self._type(one, where) for one in arguments if one is not Ellipsis]
            return self._around(self._union(found, where), "items", where)
        return None

    def _around(self, inner: Plan | None, role: str, where: str) -> Plan | None:
        if inner is None:
            return None
        if inner.leaf is not None and inner.leaf.token is not None:
            raise WrongMarkers(f"{where}: a Tokenized field stands by itself, not among others in a list or object")
        plan = self._new()
        setattr(plan, role, inner)
        return plan

    def _union(self, members: list[Plan | None], where: str) -> Plan | None:
        """One plan for all members: what one of them protects is protected, whichever of them a value is."""
        found = [member for member in members if member is not None]
        if len(found) <= 1:
            return found[0] if found else None
        plan = self._new()
        for member in found:
            self._into(plan, member, where)
        return plan

    def _into(self, plan: Plan, other: Plan, where: str) -> None:
        if (other.fields and plan.values) or (plan.fields and other.values):
            raise WrongMarkers(f"{where}: an object with fields and one with any names can't be distinguished")
        if other.leaf is not None:
            if plan.leaf is not None and plan.leaf.token != other.leaf.token:
                raise WrongMarkers(f"{where}: the members of a union have different tokens")
            plan.leaf = max(plan.leaf or other.leaf, other.leaf, key=lambda leaf: leaf.level)
        if other.subject is not None:
            if plan.subject not in (None, other.subject):
                raise WrongMarkers(f"{where}: the members of a union have different subjects")
            plan.subject = other.subject
        for mine, theirs in ((plan.fields, other.fields), (plan.spellings, other.spellings)):
            for name, child in theirs.items():
                merged = self._union([mine.get(name), child], where)
                if merged is not None:
                    mine[name] = merged
        plan.items = self._union([plan.items, other.items], where)
        plan.values = self._union([plan.values, other.values], where)

    def _refuse_foreign(self, kind: type, where: str) -> None:
        """Markers in a dataclass or a typed dict would be overlooked, so they are refused."""
        if not (dataclasses.is_dataclass(kind) or hasattr(kind, "__required_keys__")):
            return
        for hint in get_type_hints(kind, include_extras=True).values():
            if self._type(hint, where) is not None:
                raise WrongMarkers(f"{where}: markers are followed in pydantic models only, not in {kind.__name__}")

    def prune(self) -> None:
        """Take away branches without anything protected; a model may hold itself, so look until nothing changes."""
        kept = {id(plan) for plan in self._plans if plan.leaf is not None}
        while True:
            more = {id(p) for p in self._plans if id(p) not in kept and any(id(c) in kept for c in p._children())}
            if not more:
                break
            kept |= more
        for plan in self._plans:
            plan.fields = {name: child for name, child in plan.fields.items() if id(child) in kept}
            plan.spellings = {name: child for name, child in plan.spellings.items() if id(child) in kept}
            plan.items = plan.items if id(plan.items) in kept else None
            plan.values = plan.values if id(plan.values) in kept else None
            plan.protects = id(plan) in kept


def _bare(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    """A type without its metadata, and the metadata; named types are looked into."""
    metadata: tuple[Any, ...] = ()
    while True:
        if get_origin(annotation) is Annotated:
            metadata += annotation.__metadata__
            annotation = annotation.__origin__
        elif hasattr(annotation, "__value__"):  # type X = …
            annotation = annotation.__value__
        elif isinstance(annotation, TypeVar):
            annotation = annotation.__bound__ or Any
        elif isinstance(annotation, ForwardRef | str):
            raise WrongMarkers(f"{annotation}: this name isn't known where its model is defined")
        else:
            return annotation, metadata


def _markers(annotation: Any, metadata: Iterable[Any]) -> list[Any]:
    """Those on the field, on its type, and on the one type that an optional field has beside None."""
    inner, more = _bare(annotation)
    found = [*metadata, *more]
    members = _members(inner)
    if get_origin(inner) in _UNIONS and len(members) == 1:
        found += _bare(members[0])[1]
    return [one for one in found if isinstance(one, Classification | Tokenized | Subject)]


def _members(annotation: Any) -> list[Any]:
    """The members of a union but None."""
    if get_origin(annotation) not in _UNIONS:
        return [annotation]
    return [one for one in get_args(annotation) if one is not types.NoneType]


def _level(markers: Iterable[Any], where: str) -> Classification:
    levels = {marker for marker in markers if isinstance(marker, Classification)}
    if len(levels) > 1:
        names = " and ".join(sorted(level.name.lower() for level in levels))
        raise WrongMarkers(f"{where}: is both {names}; a field has one classification")
    return next(iter(levels), Classification.INTERNAL)


def _highest(plan: Plan, seen: frozenset[int] = frozenset()) -> Classification:
    if id(plan) in seen:
        return Classification.PUBLIC
    below = [_highest(child, seen | {id(plan)}) for child in plan._children()]
    return max([plan.leaf.level if plan.leaf else Classification.PUBLIC, *below])


def _is_scalar(annotation: Any) -> bool:
    for member in _members(_bare(annotation)[0]):
        bare, _ = _bare(member)
        if not isinstance(bare, type) or get_origin(bare) is not None:
            return False
        if issubclass(bare, BaseModel | Mapping) or (issubclass(bare, Iterable) and not issubclass(bare, str)):
            return False
    return True


def _is_nullable(annotation: Any) -> bool:
    bare, _ = _bare(annotation)
    return bare is Any or (get_origin(bare) in _UNIONS and types.NoneType in get_args(bare))


def _other_names(info: FieldInfo, name: str, where: str) -> set[str]:
    """Every name under which a protected field may come in."""
    names = {name, info.alias}
    choices = (
        info.validation_alias.choices if isinstance(info.validation_alias, AliasChoices) else [info.validation_alias]
    )
    for choice in choices:
        if choice is not None and not isinstance(choice, str):
            raise WrongMarkers(f"{where}: a protected field comes under a name, not under a path")
        names.add(choice)
    return {one for one in names if one is not None}
