"""Prometheus' text format, version 0.0.4, of the instruments.

Names as OpenTelemetry's "Prometheus and OpenMetrics Compatibility" derives them: dots become underscores, the unit is
part of the name, counters end in `_total`.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping

from .instruments import Counter, Instrument, Point, Spread

__all__ = ["CONTENT_TYPE", "exposition", "prometheus_name"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_UNITS = {"s": "seconds", "By": "bytes", "1": "ratio"}
_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9_]")


def prometheus_name(instrument: Instrument) -> str:
    """What an instrument is called there.

    Example
    -------
    >>> prometheus_name(Counter("sluice.vault.reads", unit="{read}", description=""))
    'sluice_vault_reads_total'
    """
    if instrument.prometheus:
        return instrument.prometheus
    name = _NOT_IN_NAMES.sub("_", instrument.name)
    unit = _UNITS.get(instrument.unit, "")
    if unit and not name.endswith(f"_{unit}"):
        name = f"{name}_{unit}"
    return f"{name}_total" if isinstance(instrument, Counter) else name


def exposition(instruments: Iterable[Instrument]) -> str:
    """Every instrument that has a value."""
    return "".join(f"{line}\n" for one in instruments for line in _family(one))


def _family(instrument: Instrument) -> Iterator[str]:
    points = list(instrument.points())
    if not points:
        return
    name = prometheus_name(instrument)
    yield f"# HELP {name} {_escaped(instrument.description)}"
    yield f"# TYPE {name} {instrument.kind}"
    for point in points:
        yield from _samples(name, point)


def _samples(name: str, point: Point) -> Iterator[str]:
    value = point.value
    if not isinstance(value, Spread):
        yield f"{name}{_labels(point.attributes)} {_number(value)}"
        return
    reached = 0
    for bound, count in zip((*value.bounds, math.inf), value.counts, strict=True):
        reached += count
        yield f"{name}_bucket{_labels({**point.attributes, 'le': _number(bound)})} {reached}"
    yield f"{name}_sum{_labels(point.attributes)} {_number(value.total)}"
    yield f"{name}_count{_labels(point.attributes)} {reached}"


def _labels(attributes: Mapping[str, str]) -> str:
    if not attributes:
        return ""
    pairs = (f'{_NOT_IN_NAMES.sub("_", name)}="{_escaped(value, quotes=True)}"' for name, value in attributes.items())
    return f"{{{','.join(pairs)}}}"


def _escaped(text: str, *, quotes: bool = False) -> str:
    """Bodies have no line breaks; what isn't UTF-8 can't be in them."""
    text = text.encode("utf-8", "replace").decode().replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quotes else text


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return repr(int(value)) if value == int(value) and abs(value) < 1e15 else repr(float(value))
