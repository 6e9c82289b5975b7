"""A template with its modules, worked out for given parameters."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tree_sitter import Node

from .constraints import violations
from .errors import BicepError
from .evaluation import Evaluator
from .functions import FUNCTIONS
from .references import references
from .syntax import Declaration, Document, read, text_of
from .values import Members, Resource, Symbolic

__all__ = ["Deployment", "Module", "deploy"]


@dataclass(frozen=True, eq=False, repr=False)
class Module(Members):
    """One deployed module: its symbol, the parameters it was given, and what it deploys.

    `name` is that of its deployment, where it has one, and `group` the id of the resource group that it goes to.
    `needs` are the symbols of its file that ARM waits for, `name[n]` for one round of a loop.
    """

    symbol: str
    deployment: "Deployment"
    needs: frozenset[str] = frozenset()
    name: str = ""
    group: str = ""

    def member(self, name: str) -> Any:
        """Its `outputs` or its `name`."""
        if name == "outputs":
            return self.deployment.outputs
        if name == "name":
            return self.symbol
        raise LookupError(f"a module has no property {name}")

    def __repr__(self) -> str:
        return f"[module {self.symbol}]"


def deploy(file: Path, parameters: Mapping[str, Any] | None = None) -> "Deployment":
    """Work a template out.

    A parameter without value and default stays symbolic, so that a module can be looked at alone.

    Raises
    ------
    BicepError
        A template that can't be read, or a parameter that it doesn't have.
    """
    return Deployment(file, dict(parameters or {}), path="")


class Deployment:
    """What a template deploys, its modules' resources included."""

    def __init__(self, file: Path, parameters: dict[str, Any], *, path: str, group: str = "") -> None:
        self.file = file
        self._group = group
        self.document: Document = read(file)
        self.path = path
        known = self.document.of_kind("param")
        for name in parameters:
            if name not in known:
                raise BicepError(file, 1, f"there is no parameter {name}")
        self._given = parameters
        self._values: dict[str, Any] = {}
        self._begun: list[str] = []
        self._needs_of_names: dict[str, frozenset[str]] = {}
        self._evaluator = Evaluator(file, self.value, group)

    def value(self, name: str) -> Any:
        """What a parameter or variable comes to, or the resource or module (a list of them for a loop).

        Raises
        ------
        KeyError
            There is no such name.
        """
        if name in self._values:
            return self._values[name]
        if name in self.document.declarations:
            one = self.document.declarations[name]
            if name in self._begun:
                raise BicepError(self.file, one.line, f"{' → '.join([*self._begun, name])} is a circle")
            self._begun.append(name)
            try:
                value = self._worked_out(one)
            finally:
                self._begun.pop()
        elif name in self.document.imports:
            target, there = self.document.imports[name]
            value = Deployment(target, {}, path=self.path).value(there)
        else:
            raise KeyError(name)
        self._values[name] = value
        return value

    @property
    def outputs(self) -> "_Outputs":
        """Name → value of the outputs, worked out when asked for."""
        return _Outputs(self, self._evaluator)

    @property
    def modules(self) -> tuple[Module, ...]:
        """The modules that are deployed, in the order of the file."""
        return tuple(one for one in self._of_kind("module") if isinstance(one, Module))

    @property
    def own_resources(self) -> tuple[Resource, ...]:
        """The resources that this file itself declares, existing ones included."""
        return tuple(one for one in self._of_kind("resource") if isinstance(one, Resource))

    @property
    def resources(self) -> tuple[Resource, ...]:
        """Everything that is deployed, modules first to last, without what exists already."""
        own = [one for one in self.own_resources if not one.existing]
        return (*own, *(one for module in self.modules for one in module.deployment.resources))

    def of_type(self, kind: str) -> tuple[Resource, ...]:
        """The deployed resources of one type, written as in Bicep; case doesn't matter."""
        return tuple(one for one in self.resources if one.type.lower() == kind.lower())

    def _of_kind(self, kind: str) -> Iterator[Any]:
        for name in self.document.of_kind(kind):
            value = self.value(name)
            yield from value if isinstance(value, list) else [value]

    def _worked_out(self, one: Declaration) -> Any:
        if one.kind == "param":
            return self._parameter(one)
        if one.value is None or one.kind == "type":
            return Symbolic(f"type {one.name}")
        if one.kind == "var":
            return self._evaluator.value(one.value)
        return self._instances(one, one.value, {}, one.name)

    def _parameter(self, one: Declaration) -> Any:
        if one.name in self._given:
            value = self._given[one.name]
        elif one.value is not None:
            value = self._evaluator.value(one.value)
        else:
            return None if one.kind_of.endswith("?") else Symbolic(f"parameters.{one.name}")
        for violation in violations(value, one.type, one.decorators, self.document, one.name):
            raise BicepError(self.file, one.line, f"the value of parameter {violation}")
        return value

    def _instances(self, one: Declaration, node: Node, bound: Mapping[str, Any], symbol: str) -> Any:
        if node.type == "for_statement":
            rounds = self._evaluator.loop(node, bound)
            return [self._instances(one, body, names, f"{symbol}[{n}]") for n, (names, body) in enumerate(rounds)]
        certain = True
        if node.type == "if_statement":
            holds, node = self._evaluator.condition(node, bound)
            if holds is False and not one.existing:
                return None
            certain = holds is not None
        body = self._evaluator.value(node, bound)
        needs = self._needs(node, bound) | _batch_before(one, symbol)
        if one.kind == "module":
            return self._module(one, symbol, body, needs)
        return self._resource(one, symbol, body, needs, certain=certain)

    def _needs(self, node: Node, bound: Mapping[str, Any]) -> frozenset[str]:
        """The resources and modules that an expression refers to, by variables too."""
        found: set[str] = set()
        for name, index in references(node):
            one = self.document.declarations.get(name)
            if name in bound or one is None or one.value is None:
                continue
            if one.kind in ("resource", "module"):
                at = None if index is None else self._evaluator.value(index, bound)
                found.add(f"{name}[{at}]" if isinstance(at, int) else name)
            else:
                if name not in self._needs_of_names:
                    self._needs_of_names[name] = self._needs(one.value, {})
                found |= self._needs_of_names[name]
        return frozenset(found)

    def _module(self, one: Declaration, symbol: str, body: dict[str, Any], needs: frozenset[str]) -> Module:
        path = f"{self.path}/{symbol}" if self.path else symbol
        scope = body.get("scope")
        group = self._group
        if isinstance(scope, Resource) and scope.type == "Microsoft.Resources/resourceGroups":
            group = f"{FUNCTIONS['subscription']()['id']}/resourceGroups/{scope.name}"
        inner = Deployment(self.file.parent / one.kind_of, body.get("params", {}), path=path, group=group)
        return Module(path, inner, needs, str(body.get("name", "")), group)

    def _resource(
        self, one: Declaration, symbol: str, body: dict[str, Any], needs: frozenset[str], *, certain: bool
    ) -> Resource:
        kind, _, version = one.kind_of.partition("@")
        parent = body.get("parent")
        name = body.get("name")
        if not isinstance(name, str):
            raise BicepError(self.file, one.line, f"{one.name} has no name")
        scope = body.get("scope")
        return Resource(
            symbol=symbol,
            type=kind,
            api_version=version,
            name=f"{parent.name}/{name}" if isinstance(parent, Resource) else name,
            body=body,
            existing=one.existing,
            certain=certain,
            module=self.path,
            file=self.file,
            line=one.line,
            parent=parent if isinstance(parent, Resource) else None,
            scope=scope if isinstance(scope, Resource | Symbolic) else None,
            needs=needs,
        )


def _batch_before(one: Declaration, symbol: str) -> frozenset[str]:
    """The rounds of a loop with `@batchSize` that come before this one's batch."""
    size, (name, _, number) = one.decorators.get("batchSize"), symbol.partition("[")
    if size is None or not number:
        return frozenset()
    batch = int(text_of(size))
    first = int(number.rstrip("]")) // batch * batch
    return frozenset(f"{name}[{n}]" for n in range(max(first - batch, 0), first))


class _Outputs(Mapping[str, Any]):
    """A template's outputs; each is worked out when it is looked at."""

    def __init__(self, deployment: Deployment, evaluator: Evaluator) -> None:
        self._declared = deployment.document.outputs
        self._evaluator = evaluator

    def __getitem__(self, name: str) -> Any:
        value = self._declared[name].value
        return self._evaluator.value(value) if value is not None else None

    def __iter__(self) -> Iterator[str]:
        return iter(self._declared)

    def __len__(self) -> int:
        return len(self._declared)
