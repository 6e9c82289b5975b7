"""The indexes that integrations declare, checked against the rows' models."""

from collections.abc import Iterator

from shared.messages import Declared, Projection, Registry

from .indexes import MAX_INDEXES, Index, ViewIndexes, WrongIndex, parse_index
from .properties import Property, properties_of

__all__ = ["indexes_of"]


def indexes_of(registry: Registry) -> dict[str, ViewIndexes]:
    """By view what is declared for it; a view without `find_by` is in none.

    Raises
    ------
    WrongIndex
        A field isn't there, can't be compared, or is protected without a token; or the key's field isn't known.
    """
    return {view: found for view in registry.views if (found := _indexes(registry, view)) is not None}


def _indexes(registry: Registry, view: str) -> ViewIndexes | None:
    projections = registry.projections_into(view)
    declared = [one for projection in projections for one in projection.find_by or ()]
    if all(one.find_by is None for one in projections):
        return None
    where = f"projects(…, into={view!r})"
    if any(one.shown is None for one in projections):
        raise WrongIndex(f"{where}: find_by needs to know the rows: annotate what each projection returns")
    properties = properties_of(registry.shown(view))
    indexes = tuple(dict.fromkeys(parse_index(one, where) for one in declared))
    if len(indexes) > MAX_INDEXES:
        raise WrongIndex(f"{where}: find_by: {len(indexes)} indexes, at most {MAX_INDEXES} are kept")
    for index in indexes:
        _check(index, properties, where)
    return ViewIndexes(view, _key(registry, projections, properties, where), properties, indexes)


def _check(index: Index, properties: dict[str, Property], where: str) -> None:
    for one in index.fields:
        prop = properties.get(one.name)
        if prop is None or not prop.kind.comparable:
            raise WrongIndex(f"{where}: find_by: {one.name!r} is no field of all rows that can be compared")
        token = None if prop.leaf is None else prop.leaf.token
        if prop.leaf is not None and (token is None or token.keep_format or one.descending):
            raise WrongIndex(f"{where}: find_by: {one.name!r} is protected: it has to be Tokenized, and has no order")


def _key(registry: Registry, projections: list[Projection], properties: dict[str, Property], where: str) -> str:
    """The field that holds a row's key."""
    named = {one.key for one in projections if one.key is not None}
    integrations = [one for one in registry.integrations if any(own in projections for own in one.projections)]
    names = named or {name for one in integrations for name in _keys(one)} & set(properties)
    if len(names) != 1 or not names <= set(properties):
        raise WrongIndex(f"{where}: find_by: say with key= which field of the row holds its key")
    (name,) = names
    if properties[name].leaf is not None:
        raise WrongIndex(f"{where}: key: {name!r} is protected, a key stands in clear")
    return name


def _keys(integration: Declared) -> Iterator[str]:
    return (handler.key for handler in integration.handlers)
