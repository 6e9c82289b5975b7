"""Markers on any shape of model become one plan, and what can't be followed is refused when it is read."""

from __future__ import annotations

from typing import Annotated, Any, Generic, TypeVar

import pytest
from pydantic import AliasPath, BaseModel, Field, RootModel, create_model, model_serializer
from typing_extensions import TypedDict

from shared.classification import Confidential, Internal, Public, Restricted, Subject, Tokenized, WrongMarkers, plan_of
from shared.classification import redacted as redact_json
from shared.messages import Contract, Integration

Held = TypeVar("Held")


class Contact(Contract):
    """A nested model."""

    e_mail: Annotated[str | None, Restricted] = None
    language: Annotated[str, Public] = "en"


class Box(Contract, Generic[Held]):
    """A generic one."""

    held: Held


class Comment(Contract):
    """One that holds itself."""

    text: Annotated[str | None, Confidential] = None
    answers: list[Comment] = Field(default=[])


class Named(TypedDict):
    """Not a model."""

    name: Annotated[str, Restricted]


class Everything(Contract):
    """Every place where a marker may stand."""

    customer_id: Annotated[str | None, Restricted, Tokenized("customer"), Subject()] = None
    optional: Annotated[str, Restricted] | None = None
    contact: Contact | None = None
    contacts: list[Contact] = Field(default=[])
    pair: tuple[Contact, int] | None = None
    by_name: dict[str, Contact] = Field(default={})
    amounts: dict[str, Annotated[int, Confidential]] = Field(default={})
    whole: Annotated[dict[str, list[str]], Restricted] = Field(default={})
    box: Box[Annotated[str, Restricted]] | None = None
    boxed: Box[Contact] | None = None
    either: Contact | int | list[Annotated[str, Restricted]] | None = None
    thread: Comment | None = None
    root: RootModel[list[Contact]] | None = None
    spelled: Annotated[str | None, Restricted] = Field(None, validation_alias="spelt", serialization_alias="spelled")
    plain: str = "told"
    said: Annotated[str, Internal] = "told"


SECRET = "planted"


def filled() -> Everything:
    """Every protected place holds the planted value or the number 4711."""
    contact = Contact(e_mail=SECRET)
    return Everything(
        customer_id=SECRET,
        optional=SECRET,
        contact=contact,
        contacts=[contact, contact],
        pair=(contact, 1),
        by_name={"a/b~c": contact},
        amounts={"x": 4711},
        whole={SECRET: [SECRET]},
        box=Box[Annotated[str, Restricted]](held=SECRET),
        boxed=Box[Contact](held=contact),
        either=contact,
        thread=Comment(text=SECRET, answers=[Comment(text=SECRET, answers=[Comment(text=SECRET)])]),
        root=RootModel[list[Contact]]([contact]),
        spelt=SECRET,
    )


def test_every_place_of_a_marker_is_found() -> None:
    """Optional, nested, in lists, tuples, objects, unions, generics, roots and models that hold themselves."""
    shown = str(redact_json(plan_of(Everything), filled().model_dump(mode="json", by_alias=True)))
    assert SECRET not in shown
    assert "4711" not in shown
    assert shown.count("told") == 2
    assert shown.count("'en'") == 8


def test_a_name_under_which_a_field_comes_in_is_known_too() -> None:
    """Field name, alias, and the alias of validation."""
    for name in ("customerId", "customer_id", "spelt", "spelled"):
        assert redact_json(plan_of(Everything), {name: SECRET}) == {name: "[redacted]"}


def test_the_text_of_a_model_doesnt_tell() -> None:
    """Neither does that of a list of models."""
    assert SECRET not in f"{filled()} {filled()!r} {[filled()]}".replace("root=RootModel", "")


def test_a_model_without_markers_has_an_empty_plan() -> None:
    """Also one that holds itself."""

    class Tree(BaseModel):
        children: list[Tree] = Field(default=[])

    Tree.model_rebuild(_types_namespace={"Tree": Tree})
    assert not plan_of(Tree).protects
    assert plan_of(Everything).protects


@pytest.mark.parametrize(
    ("annotation", "reason"),
    [
        (Annotated[str, Restricted, Confidential], "both confidential and restricted"),
        (Annotated[str, Public, Tokenized("x")], "protects nothing"),
        (Annotated[Contact, Confidential], "holds restricted fields"),
        (dict[Annotated[str, Restricted], int], "names of an object"),
        (Annotated[list[str], Restricted, Tokenized("x")], "one Tokenized"),
        (Annotated[Contact, Restricted, Tokenized("x")], "one Tokenized"),
        (list[Annotated[str, Restricted, Tokenized("x")]], "stands by itself"),
        (RootModel[Annotated[str, Restricted]], "not its root"),
        (Annotated[list[str], Subject()], "a Subject is"),
        (Contact | dict[str, Annotated[str, Restricted]], "distinguished"),
        (Annotated[str, Restricted, Tokenized("x")] | Annotated[int, Restricted, Tokenized("y")], "different tokens"),
        (Named, "pydantic models only"),
        (Annotated[str, Restricted, Field(validation_alias=AliasPath("a", 0))], "not under a path"),
    ],
)
def test_markers_that_cant_be_followed_are_refused(annotation: Any, reason: str) -> None:
    """With the field's name, when the integration is registered."""
    model = create_model("Wrong", __base__=Contract, key=(str, ...), field=(annotation, ...))
    with pytest.raises(WrongMarkers, match=reason) as refused:
        Integration("x").handles("x.y", key="key")(_handler(model))
    assert "Wrong.field" in str(refused.value) or "RootModel" in str(refused.value)


def _handler(model: type[BaseModel]) -> Any:
    async def handle(data: object, work: object) -> None: ...

    handle.__annotations__["data"] = model
    return handle


def test_two_subjects_in_one_object_are_refused() -> None:
    """Whose data would it be?"""

    class Two(Contract):
        one: Annotated[str | None, Subject()] = None
        other: Annotated[str | None, Subject()] = None

    with pytest.raises(WrongMarkers, match="about one person"):
        plan_of(Two)


def test_a_model_that_writes_itself_is_refused() -> None:
    """Its JSON has another shape than its fields."""

    class Odd(Contract):
        name: Annotated[str, Restricted]

        @model_serializer
        def flat(self) -> str:
            return self.name

    with pytest.raises(WrongMarkers, match="serializer"):
        plan_of(Odd)


def test_a_protected_field_is_no_key() -> None:
    """It would stand in clear in rows, partitions and headers."""
    for key in ("customerId", "customer_id"):
        with pytest.raises(WrongMarkers, match="can't be the key"):
            Integration("x").handles("x.y", key=key)(_handler(Everything))


def test_what_a_projection_shows_of_a_person_can_be_erased() -> None:
    """It is None then, so it has to take None."""

    class Lasting(Contract):
        who: Annotated[str | None, Subject()] = None
        names: list[Annotated[str, Restricted]] = Field(default=[])

    def show(row: object) -> object:
        return row

    show.__annotations__["row"] = Lasting
    with pytest.raises(WrongMarkers, match=r"Lasting\.names\.\[\]"):
        Integration("x").projects("x.y", into="rows")(show)


@pytest.mark.parametrize("marker", [Tokenized, Subject])
@pytest.mark.parametrize("kind", ["", "Customer", "a b", "x" * 33])
def test_a_kind_is_a_short_name(marker: type[Tokenized | Subject], kind: str) -> None:
    """It is a part of tokens and of key names."""
    with pytest.raises(ValueError, match="lower-case"):
        marker(kind)
