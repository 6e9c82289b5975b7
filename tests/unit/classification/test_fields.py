"""Encrypted fields: what goes in comes out, at its own place, for those who may see it, until the person is erased."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, create_model

from shared.classification import (
    Classification,
    Confidential,
    Internal,
    Public,
    Restricted,
    Subject,
    Tokenized,
    leaves,
    plan_of,
)
from shared.encryption import KeysUnavailable, ProtectionError, UnknownKey
from shared.messages import Contract
from shared.privacy import FieldProtection, access_level_of, clear_text, masked
from shared.tokenization import TokenKeys
from tests.unit.shared.encryption.vault import World

PLACE = ("state", "order", "1")


class Contact(Contract):
    """About whomever the object around it is."""

    e_mail: Annotated[str | None, Restricted] = None
    language: str = "en"


class Sale(Contract):
    """About a customer, with another person in it."""

    sale_id: str
    customer_id: Annotated[str | None, Restricted, Tokenized("customer"), Subject()] = None
    name: Annotated[str | None, Restricted] = None
    amount: Annotated[Decimal | None, Confidential] = None
    contacts: list[Contact] = []  # noqa: RUF012 - pydantic copies it


def sale(**changed: Any) -> Sale:
    """A sale to somebody."""
    contacts = [Contact(e_mail="c1@example.com"), Contact(e_mail="c2@example.com")]
    return Sale(
        **{
            "sale_id": "1",
            "customer_id": "17850",
            "name": "Planted Name",
            "amount": Decimal("1.50"),
            "contacts": contacts,
            **changed,
        }
    )


def protection(world: World, **changed: Any) -> FieldProtection:
    """The fields' protection of an instance that has just started."""
    return FieldProtection(world.data_keys(), world.subject_keys(**changed), TokenKeys(world.secrets, "token-key"))


SCALARS = st.sampled_from(
    [
        (str, st.text(st.characters(codec="utf-8"))),
        (int, st.integers()),
        (bool, st.booleans()),
        (Decimal, st.decimals(allow_nan=False, allow_infinity=False)),
        (datetime, st.datetimes(timezones=st.just(UTC))),
        (date, st.dates()),
        (UUID, st.uuids()),
        (bytes, st.binary().map(lambda data: data.hex().encode())),
    ]
)
MARKERS = st.sampled_from([(), (Public,), (Internal,), (Confidential,), (Restricted,), (Restricted, Tokenized("x"))])


@st.composite
def kinds(draw: st.DrawFn, depth: int = 2, *, alone: bool = True) -> tuple[Any, st.SearchStrategy[Any]]:
    """A type with markers, and its values."""
    form = draw(st.sampled_from(["scalar", "list", "dict", "model", "optional"] if depth else ["scalar"]))
    if form == "scalar":
        kind, values = draw(SCALARS)
        markers = draw(MARKERS)
        markers = markers if alone and kind is not bytes else markers[:1]  # a token stands beside one plain value
        return (Annotated[(kind, *markers)] if markers else kind), values
    if form == "model":
        model, values = draw(models(depth - 1))
        return model, values
    inner, values = draw(kinds(depth - 1, alone=alone and form == "optional"))
    if form == "list":
        return list.__class_getitem__(inner), st.lists(values, max_size=3)
    if form == "dict":
        return dict.__class_getitem__((str, inner)), st.dictionaries(st.text("ab/~ ", max_size=3), values, max_size=3)
    return inner | None, st.none() | values


@st.composite
def models(draw: st.DrawFn, depth: int = 2) -> tuple[type[BaseModel], st.SearchStrategy[BaseModel]]:
    """A model with markers anywhere, and instances of it."""
    fields = {name: draw(kinds(depth)) for name in draw(st.sets(st.sampled_from("abcd"), min_size=1))}
    model = create_model("Made", __base__=Contract, **{name: (kind, ...) for name, (kind, _) in fields.items()})  # type: ignore[call-overload]
    return model, st.fixed_dictionaries({name: values for name, (_, values) in fields.items()}).map(
        lambda values: model(**values)
    )


@settings(max_examples=80)
@given(st.data())
async def test_what_is_encrypted_is_decrypted_and_nothing_is_left_in_clear(data: st.DataObject) -> None:
    """For any model with markers anywhere and any values."""
    model, values = data.draw(models())
    value = data.draw(values)
    fields = protection(World())
    encrypted = await fields.encrypt(value, PLACE)
    for one in leaves(plan_of(model), json.loads(encrypted.text)):
        assert one.holder[one.name].startswith("slp1.")
    assert model.model_validate_json(await fields.decrypt(encrypted.text, model, PLACE)) == value


async def test_nothing_protected_is_readable_and_the_rest_is() -> None:
    """The token stands beside its field."""
    encrypted = await protection(World()).encrypt(sale(), PLACE)
    assert not any(secret in encrypted.text for secret in ("17850", "Planted", "1.50", "example.com"))
    parsed = json.loads(encrypted.text)
    assert parsed["saleId"] == "1"
    assert encrypted.tokens == {"customerId": parsed["customerId$token"]}
    assert parsed["customerId$token"].startswith("tok_")


async def test_the_token_is_the_same_for_the_same_value_only() -> None:
    """Wherever it stands."""
    fields = protection(World())
    tokens = [
        (await fields.encrypt(sale(customer_id=who), (*PLACE, who, key))).tokens["customerId"]
        for who in ("1", "2")
        for key in "ab"
    ]
    assert tokens[0] == tokens[1] != tokens[2] == tokens[3]


async def test_a_token_may_keep_the_form_of_its_value() -> None:
    """Then rows aren't found by it, since two values may share it."""

    class Card(Contract):
        number: Annotated[str, Restricted, Tokenized("card", keep_format=True)]

    encrypted = await protection(World()).encrypt(Card(number="4000-1234-x"), PLACE)
    token = json.loads(encrypted.text)["number$token"]
    assert re.fullmatch(r"\d{4}-\d{4}-[a-z]", token)
    assert token != "4000-1234-x"
    assert encrypted.tokens == {}


@given(st.data())
@settings(max_examples=60)
async def test_a_ciphertext_opens_at_its_own_place_only(data: st.DataObject) -> None:
    """Changed in any character, moved to another field, element, row or kind of row, it is refused for good."""
    fields = protection(World())
    text = (await fields.encrypt(sale(), PLACE)).text
    parsed = json.loads(text)
    found = leaves(plan_of(Sale), parsed)
    one, other = data.draw(st.permutations(found))[:2]
    place = PLACE
    match data.draw(st.sampled_from(["change", "cut", "swap", "row", "kind"])):
        case "change":
            encrypted = one.holder[one.name]
            at = data.draw(st.integers(5, len(encrypted) - 1))
            letter = data.draw(st.sampled_from("ABCxyz019-_*").filter(lambda new: new != encrypted[at]))
            one.holder[one.name] = encrypted[:at] + letter + encrypted[at + 1 :]
        case "cut":
            one.holder[one.name] = one.holder[one.name][: data.draw(st.integers(5, 30))]
        case "swap":
            one.holder[one.name], other.holder[other.name] = other.holder[other.name], one.holder[one.name]
        case "row":
            place = ("state", "order", "2")
        case "kind":
            place = ("view", "order", "1")
    with pytest.raises(ProtectionError):
        await fields.decrypt(json.dumps(parsed), Sale, place)


async def test_an_erased_person_leaves_nulls_behind() -> None:
    """Of that person only, and the model can still be read."""
    world = World()
    fields = protection(world)
    rows = {who: (await fields.encrypt(sale(customer_id=who, name=f"{who}'s"), PLACE)) for who in ("1", "2")}
    keys = world.subject_keys()
    assert await keys.erase(rows["1"].tokens["customerId"], by="a test", reason="asked for") is not None
    fresh = protection(world)
    first = Sale.model_validate_json(await fresh.decrypt(rows["1"].text, Sale, PLACE))
    second = Sale.model_validate_json(await fresh.decrypt(rows["2"].text, Sale, PLACE))
    assert (first.sale_id, first.customer_id, first.name, first.contacts[0].e_mail) == ("1", None, None, None)
    assert (second.customer_id, second.name) == ("2", "2's")


async def test_a_guest_is_encrypted_under_the_apps_own_key() -> None:
    """There is nobody to erase."""
    fields = protection(World())
    encrypted = await fields.encrypt(sale(customer_id=None), PLACE)
    assert "Planted" not in encrypted.text
    assert encrypted.tokens == {}
    assert json.loads(encrypted.text)["customerId"] is None
    assert Sale.model_validate_json(await fields.decrypt(encrypted.text, Sale, PLACE)) == sale(customer_id=None)


async def test_what_was_kept_before_fields_were_sealed_is_read() -> None:
    """Also a new token key and an app without keys find their way, or say that they can't."""
    world = World()
    fields = protection(world)
    clear = sale().model_dump_json(by_alias=True)
    assert Sale.model_validate_json(await fields.decrypt(clear, Sale, PLACE)) == sale()
    assert clear_text(clear, Sale) == clear
    encrypted = await fields.encrypt(sale(), PLACE)
    with pytest.raises(UnknownKey):
        clear_text(encrypted.text, Sale)
    world.secrets.rotate("token-key", "n" * 40)
    later = await protection(world).encrypt(sale(), PLACE)
    assert later.tokens != encrypted.tokens
    marker = plan_of(Sale).tokenized["customerId"]
    assert {*later.tokens.values(), *encrypted.tokens.values()} == set(await fields.candidates(marker, "17850"))
    assert len([row async for row in world.rows.every() if row.row == "key"]) == 1


async def test_keys_that_are_away_are_no_fault_of_the_message() -> None:
    """The failure says that another try may help."""
    world = World()
    world.secrets.away = True
    with pytest.raises(KeysUnavailable):
        await protection(world).encrypt(sale(), PLACE)


@pytest.mark.parametrize(
    ("roles", "clearance"),
    [
        (None, Restricted),
        (set(), Confidential),
        ({"reader"}, Confidential),
        ({"producer"}, Confidential),
        ({"reader", "operator"}, Restricted),
    ],
)
def test_only_an_operator_sees_everything(roles: set[str] | None, clearance: Classification) -> None:
    """Where there are callers at all."""
    assert access_level_of(roles) is clearance


async def test_a_reader_sees_tokens_and_nulls_and_is_told_of_them() -> None:
    """What is confidential is seen; an operator sees everything; nobody sees how it is kept."""
    fields = protection(World())
    encrypted = await fields.encrypt(sale(), PLACE)
    plans = [plan_of(Sale)]
    reader = json.loads((await masked(encrypted.text, plans, PLACE, level=Confidential, fields=fields)).body)
    assert reader == {
        "saleId": "1",
        "customerId": encrypted.tokens["customerId"],
        "name": None,
        "amount": "1.50",
        "contacts": [{"eMail": None, "language": "en"}] * 2,
        "$masked": ["/contacts/0/eMail", "/contacts/1/eMail", "/customerId", "/name"],
    }
    operator = (await masked(encrypted.text, plans, PLACE, level=Restricted, fields=fields)).body
    assert json.loads(operator) == sale().model_dump(mode="json", by_alias=True)


async def test_an_operator_is_told_what_was_erased() -> None:
    """It reads as null, which alone could be a guest."""
    world = World()
    encrypted = await protection(world).encrypt(sale(contacts=[]), PLACE)
    await world.subject_keys().erase(encrypted.tokens["customerId"], by="a test", reason="asked for")
    seen = json.loads(
        (await masked(encrypted.text, [plan_of(Sale)], PLACE, level=Restricted, fields=protection(world))).body
    )
    assert seen["$erased"] == ["/amount", "/customerId", "/name"]
    assert (seen["customerId"], seen["name"], seen["saleId"]) == (None, None, "1")


async def test_a_reader_sees_nothing_of_what_is_kept_in_clear_either() -> None:
    """The annotation decides, not how the row is kept."""
    clear = sale(contacts=[]).model_dump_json(by_alias=True)
    seen = json.loads((await masked(clear, [plan_of(Sale)], PLACE, level=Confidential, fields=None)).body)
    assert (seen["customerId"], seen["name"], seen["amount"]) == (None, None, "1.50")
