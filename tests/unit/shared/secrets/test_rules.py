"""Which key for a region, a tier, a customer: the first rule that holds, or one clear error."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.secrets import KeyRule, KeyRules, NoKeyRule

RULES = KeyRules(
    KeyRule("carrier-acme", {"customer": "acme"}),
    KeyRule("carrier-{region}-premium", {"tier": "premium"}),
    KeyRule("carrier-{region}"),
)


@pytest.mark.parametrize(
    ("facts", "name"),
    [
        ({"region": "eu"}, "carrier-eu"),
        ({"region": "us", "tier": "premium"}, "carrier-us-premium"),
        ({"region": "us", "tier": "basic"}, "carrier-us"),
        ({"region": "us", "tier": "premium", "customer": "acme"}, "carrier-acme"),
        ({"customer": "acme"}, "carrier-acme"),
    ],
)
def test_the_first_rule_that_holds_decides(facts: dict[str, str], name: str) -> None:
    """The special ones come first."""
    assert RULES.select(**facts) == name


@pytest.mark.parametrize("facts", [{}, {"tier": "premium"}, {"customer": "other"}, {"region": ""}])
def test_without_a_rule_the_error_names_the_facts_not_their_values(facts: dict[str, str]) -> None:
    """A customer may be among them."""
    with pytest.raises(NoKeyRule, match="no rule selects a key by") as caught:
        RULES.select(**facts)
    assert all(fact in str(caught.value) for fact in facts)
    assert "other" not in str(caught.value)


@pytest.mark.parametrize("region", ["eu-premium", "eu/v1", "../x", "ä", "a b", "x" * 130])
def test_a_fact_cannot_reach_the_key_of_another_rule(region: str) -> None:
    """Facts come from messages."""
    with pytest.raises(NoKeyRule) as caught:
        RULES.select(region=region)
    assert region not in str(caught.value)


@given(st.dictionaries(st.sampled_from(["region", "tier", "customer"]), st.text(max_size=12)))
def test_any_facts_give_a_name_of_the_table_or_the_one_error(facts: dict[str, str]) -> None:
    """Whatever a message says."""
    try:
        name = RULES.select(**facts)
    except NoKeyRule:
        return
    region = facts.get("region", "")
    assert name in ("carrier-acme", f"carrier-{region}-premium", f"carrier-{region}")


@pytest.mark.parametrize("secret", ["", "a b", "a{", "a{x", "a{}", "a{x.y}", "a{0}", "a/{x}"])
def test_a_rule_that_could_name_no_secret_is_refused_when_it_is_written(secret: str) -> None:
    """Not when the first customer comes."""
    with pytest.raises(ValueError, match="rule for"):
        KeyRule(secret)


def test_a_table_without_rules_and_a_rule_with_empty_facts_are_refused() -> None:
    """They could never select anything."""
    with pytest.raises(ValueError, match="at least one"):
        KeyRules()
    with pytest.raises(ValueError, match="not empty"):
        KeyRule("a", {"region": ""})
