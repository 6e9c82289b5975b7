"""Who waits for whom, as Resource Manager sees it."""

from __future__ import annotations

from pathlib import Path

from local.bicep import deploy
from local.rehearsal.order import Order, order_of

KIND = "Microsoft.Storage/storageAccounts@2025-01-01"


def ordered(folder: Path, main: str, **modules: str) -> tuple[Order, dict[str, int]]:
    """The order of a template with its modules, and where each resource stands in it."""
    for name, text in {"main": main, **modules}.items():
        (folder / f"{name}.bicep").write_text(text)
    order = order_of(deploy(folder / "main.bicep"))
    return order, {one.name: number for number, one in enumerate(order.resources)}


def test_waves_are_the_longest_chains(tmp_path: Path) -> None:
    """By reference, by dependsOn, by variables, in every branch of an expression."""
    order, at = ordered(
        tmp_path,
        f"""
        param on bool = false
        var uri = a.properties.x
        resource a '{KIND}' = {{ name: 'a' }}
        resource b '{KIND}' = {{ name: 'b', properties: {{ x: uri }} }}
        resource c '{KIND}' = {{ name: 'c', properties: {{ x: on ? b.id : 'none' }} }}
        resource d '{KIND}' = {{ name: 'd', dependsOn: [c] }}
        resource e '{KIND}' = {{ name: 'e', properties: {{ a: 'b', b: {{ c: 'd' }} }} }}
        """,
    )
    assert [order.waves[at[name]] for name in "abcde"] == [1, 2, 3, 4, 1]
    assert order.waits(at["d"], at["a"])
    assert not order.waits(at["a"], at["d"])
    assert order.together(at["e"], at["d"])
    assert not order.together(at["e"], at["e"])


def test_what_is_not_deployed_is_no_link(tmp_path: Path) -> None:
    """Who waited for it waits for nothing."""
    order, at = ordered(
        tmp_path,
        f"""
        resource a '{KIND}' = {{ name: 'a' }}
        resource b '{KIND}' = if (false) {{ name: 'b', dependsOn: [a] }}
        resource c '{KIND}' = {{ name: 'c', dependsOn: [b] }}
        """,
    )
    assert order.together(at["a"], at["c"])


def test_what_exists_hands_on_what_it_needs(tmp_path: Path) -> None:
    """An existing resource is nothing to wait for, but its name may be."""
    order, at = ordered(
        tmp_path,
        f"""
        resource a '{KIND}' = {{ name: 'a' }}
        resource b '{KIND}' existing = {{ name: 'b${{a.properties.x}}' }}
        resource c '{KIND}' = {{ name: 'c', scope: b }}
        """,
    )
    assert order.waits(at["c"], at["a"])


def test_rounds_go_in_batches(tmp_path: Path) -> None:
    """All at once without, one after the other with a size of one, two at a time with two."""
    text = f"resource a '{KIND}' = [for i in range(0, 4): {{ name: 'a${{i}}' }}]\n"
    tail = f"resource z '{KIND}' = {{ name: 'z', properties: {{ x: a[1].id }} }}"
    for decorator, waves in (("", [1, 1, 1, 1]), ("@batchSize(1)\n", [1, 2, 3, 4]), ("@batchSize(2)\n", [1, 1, 2, 2])):
        order, at = ordered(tmp_path, decorator + text + tail)
        assert [order.waves[at[f"a{n}"]] for n in range(4)] == waves
        assert order.waits(at["z"], at["a1"])
        assert not order.waits(at["z"], at["a3"])


def test_a_module_is_waited_for_whole(tmp_path: Path) -> None:
    """Whoever takes one of its outputs waits for all of it; what is in it waits for what the module waits for."""
    module = f"""
    param x string
    resource first '{KIND}' = {{ name: 'first-${{x}}' }}
    resource second '{KIND}' = {{ name: 'second-${{x}}', dependsOn: [first] }}
    output name string = first.name
    """
    order, at = ordered(
        tmp_path,
        f"""
        resource a '{KIND}' = {{ name: 'a' }}
        module one 'part.bicep' = {{ name: 'one', params: {{ x: '1' }}, dependsOn: [a] }}
        module two 'part.bicep' = {{ name: 'two', params: {{ x: '2' }} }}
        resource z '{KIND}' = {{ name: 'z', properties: {{ x: one.outputs.name }} }}
        """,
        part=module,
    )
    assert order.waits(at["z"], at["second-1"])
    assert order.waits(at["first-1"], at["a"])
    assert order.together(at["first-2"], at["first-1"])
    assert order.together(at["z"], at["second-2"])
