"""host.json as typed options: documented defaults and limits, environment overrides, unknown keys reported."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from local_azure.host.errors import SettingError
from local_azure.host.time_spans import parse_time_span

__all__ = [
    "BlobOptions",
    "EventHubsOptions",
    "HostOptions",
    "HttpOptions",
    "InitialOffset",
    "ServiceBusOptions",
    "load_host_json",
]

_OVERRIDE_PREFIX = "azurefunctionsjobhost__"

# Read by parts of the platform that have no counterpart on a laptop; they are known, so not worth a warning.
_ELSEWHERE = (
    "logging", "aggregator", "extensionbundle", "healthmonitor", "singleton", "watchdirectories", "watchfiles",
    "telemetrymode", "concurrency", "manageddependency", "customhandler", "sendcanceledinvocationstoworker",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpOptions:
    """`extensions.http`. Counts of -1 mean no limit, the default outside the Consumption plan."""

    route_prefix: str = "api"
    max_outstanding_requests: int = -1
    max_concurrent_requests: int = -1
    custom_headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceBusOptions:
    """`extensions.serviceBus` of the 5.x extension."""

    prefetch_count: int = 0
    auto_complete_messages: bool = True
    max_auto_lock_renewal_duration: timedelta = timedelta(minutes=5)
    max_concurrent_calls: int = 16 * (os.cpu_count() or 1)
    max_concurrent_sessions: int = 8
    max_message_batch_size: int = 1000
    min_message_batch_size: int = 1
    max_batch_wait_time: timedelta = timedelta(seconds=30)
    session_idle_timeout: timedelta = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class InitialOffset:
    """`initialOffsetOptions`: where a consumer group without a checkpoint begins."""

    type: Literal["fromStart", "fromEnd", "fromEnqueuedTime"] = "fromStart"
    enqueued_time: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventHubsOptions:
    """`extensions.eventHubs` of the 5.x and 6.x extension."""

    max_event_batch_size: int = 100
    min_event_batch_size: int = 1
    max_wait_time: timedelta = timedelta(seconds=60)
    batch_checkpoint_frequency: int = 1
    prefetch_count: int = 300
    load_balancing_update_interval: timedelta = timedelta(seconds=30)
    partition_ownership_expiration_interval: timedelta = timedelta(minutes=2)
    initial_offset: InitialOffset = field(default_factory=InitialOffset)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobOptions:
    """`extensions.blobs`."""

    max_degree_of_parallelism: int = 8 * (os.cpu_count() or 1)
    poison_blob_threshold: int = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class HostOptions:
    """What the whole host goes by. `function_timeout` None means no limit (`-1`)."""

    function_timeout: timedelta | None = timedelta(minutes=30)
    functions: tuple[str, ...] | None = None
    http: HttpOptions = field(default_factory=HttpOptions)
    service_bus: ServiceBusOptions = field(default_factory=ServiceBusOptions)
    event_hubs: EventHubsOptions = field(default_factory=EventHubsOptions)
    blobs: BlobOptions = field(default_factory=BlobOptions)
    warnings: tuple[str, ...] = ()


def load_host_json(path: Path, environment: Mapping[str, str]) -> HostOptions:
    """The options of a host.json file, overridden by `AzureFunctionsJobHost__a__b` settings.

    Raises
    ------
    SettingError
        The file is missing or malformed, or a value is outside its documented range.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise SettingError(f"{path} is missing; a function app needs a host.json") from None
    except ValueError as error:
        raise SettingError(f"host.json is not valid JSON: {error}") from None
    if not isinstance(content, dict):
        raise SettingError("host.json must hold a JSON object")
    return read_options(_with_overrides(_lowered(content), environment))


def read_options(content: dict[str, Any]) -> HostOptions:
    """The options in the content of a host.json whose keys are in lower case."""
    root = _Section("", content)
    if root.text("version", "") != "2.0":
        raise SettingError('host.json must say "version": "2.0"')
    extensions = root.section("extensions")
    http, service_bus = _http(extensions.section("http")), _service_bus(extensions.section("serviceBus"))
    event_hubs, blobs = _event_hubs(extensions.section("eventHubs")), _blobs(extensions.section("blobs"))
    return HostOptions(
        function_timeout=_function_timeout(root),
        functions=root.names("functions"),
        http=http,
        service_bus=service_bus,
        event_hubs=event_hubs,
        blobs=blobs,
        warnings=tuple(f"host.json: {name} is not known here and has no effect" for name in root.unread()),
    )


def _lowered(value: Any) -> Any:
    """.NET's configuration compares names without case."""
    if isinstance(value, dict):
        return {str(name).lower(): _lowered(inner) for name, inner in value.items()}
    return value


def _with_overrides(content: dict[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    for name, value in environment.items():
        lowered = name.lower().replace(":", "__")
        if not lowered.startswith(_OVERRIDE_PREFIX):
            continue
        *sections, leaf = lowered.removeprefix(_OVERRIDE_PREFIX).split("__")
        target = content
        for section in sections:
            inner = target.get(section)
            if not isinstance(inner, dict):
                inner = target[section] = {}
            target = inner
        target[leaf] = value
    return content


class _Section:
    """One object of host.json that knows which of its keys were asked for."""

    def __init__(self, path: str, content: dict[str, Any]) -> None:
        self._path = path
        self._content = content
        self._read: set[str] = set(_ELSEWHERE) if not path else set()
        self._children: list[_Section] = []

    def _get(self, name: str) -> Any:
        self._read.add(name.lower())
        return self._content.get(name.lower())

    def _name(self, name: str) -> str:
        return f"{self._path}.{name}" if self._path else name

    def _wrong(self, name: str, value: Any, expected: str) -> SettingError:
        return SettingError(f"host.json: {self._name(name)} is {value!r}, it must be {expected}")

    def section(self, name: str) -> "_Section":
        value = self._get(name)
        if value is None:
            value = {}
        if not isinstance(value, dict):
            raise self._wrong(name, value, "an object")
        child = _Section(self._name(name), value)
        self._children.append(child)
        return child

    def ignore(self, *names: str) -> None:
        self._read.update(name.lower() for name in names)

    def text(self, name: str, default: str) -> str:
        value = self._get(name)
        if value is None:
            return default
        if not isinstance(value, str):
            raise self._wrong(name, value, "text")
        return value

    def choice(self, name: str, default: str, choices: tuple[str, ...]) -> str:
        value = self.text(name, default)
        for choice in choices:
            if value.lower() == choice.lower():
                return choice
        raise self._wrong(name, value, f"one of {', '.join(choices)}")

    def names(self, name: str) -> tuple[str, ...] | None:
        value = self._get(name)
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self._wrong(name, value, "a list of function names")
        return tuple(value)

    def headers(self, name: str) -> dict[str, str]:
        value = self._get(name)
        if value is None:
            return {}
        if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
            raise self._wrong(name, value, "an object of texts")
        return dict(value)

    def flag(self, name: str, default: bool) -> bool:
        value = self._get(name)
        if value is None:
            return default
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return value.lower() == "true"
        raise self._wrong(name, value, "true or false")

    def count(self, name: str, default: int, low: int, high: int | None = None, *, unlimited: bool = False) -> int:
        value = self._get(name)
        if value is None:
            return default
        number = self._integer(name, value)
        if unlimited and number == -1:
            return number
        if number < low or (high is not None and number > high):
            bound = f"between {low} and {high}" if high is not None else f"{low} or more"
            raise self._wrong(name, value, bound + (", or -1 for no limit" if unlimited else ""))
        return number

    def _integer(self, name: str, value: Any) -> int:
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if isinstance(value, str):
            try:
                return int(value)
            except ValueError:
                pass
        raise self._wrong(name, value, "a whole number")

    def span(
        self, name: str, default: timedelta, low: timedelta = timedelta(0), high: timedelta | None = None
    ) -> timedelta:
        value = self._get(name)
        if value is None:
            return default
        if not isinstance(value, str):
            raise self._wrong(name, value, "a duration like 00:00:30")
        try:
            span = parse_time_span(value)
        except ValueError:
            raise self._wrong(name, value, "a duration like 00:00:30") from None
        if span < low or (high is not None and span > high):
            raise self._wrong(name, value, f"at least {low}" + (f" and at most {high}" if high else ""))
        return span

    def unread(self) -> list[str]:
        """Full names of the keys that nothing asked for."""
        own = [self._name(name) for name in self._content if name not in self._read]
        return own + [name for child in self._children for name in child.unread()]


def _function_timeout(root: _Section) -> timedelta | None:
    if root.text("functionTimeout", "") == "-1":
        return None
    return root.span("functionTimeout", timedelta(minutes=30), timedelta(seconds=1))


def _http(section: _Section) -> HttpOptions:
    section.ignore("dynamicThrottlesEnabled", "hsts")
    return HttpOptions(
        route_prefix=section.text("routePrefix", "api").strip("/"),
        max_outstanding_requests=section.count("maxOutstandingRequests", -1, 1, unlimited=True),
        max_concurrent_requests=section.count("maxConcurrentRequests", -1, 1, unlimited=True),
        custom_headers=section.headers("customHeaders"),
    )


def _service_bus(section: _Section) -> ServiceBusOptions:
    section.ignore(
        "clientRetryOptions",
        "transportType",
        "webProxy",
        "enableCrossEntityTransactions",
        "maxConcurrentCallsPerSession",
    )
    default = ServiceBusOptions()
    largest = section.count("maxMessageBatchSize", default.max_message_batch_size, 1)
    return ServiceBusOptions(
        prefetch_count=section.count("prefetchCount", default.prefetch_count, 0),
        auto_complete_messages=section.flag("autoCompleteMessages", default.auto_complete_messages),
        max_auto_lock_renewal_duration=section.span(
            "maxAutoLockRenewalDuration", default.max_auto_lock_renewal_duration
        ),
        max_concurrent_calls=section.count("maxConcurrentCalls", default.max_concurrent_calls, 1),
        max_concurrent_sessions=section.count("maxConcurrentSessions", default.max_concurrent_sessions, 1),
        max_message_batch_size=largest,
        min_message_batch_size=section.count("minMessageBatchSize", default.min_message_batch_size, 1, largest),
        max_batch_wait_time=section.span(
            "maxBatchWaitTime", default.max_batch_wait_time, high=timedelta(minutes=2, seconds=30)
        ),
        session_idle_timeout=section.span("sessionIdleTimeout", default.session_idle_timeout),
    )


def _event_hubs(section: _Section) -> EventHubsOptions:
    section.ignore(
        "clientRetryOptions", "transportType", "webProxy", "customEndpointAddress", "trackLastEnqueuedEventProperties",
        "targetUnprocessedEventThreshold", "prefetchSizeInBytes",
    )  # fmt: skip
    default = EventHubsOptions()
    largest = section.count("maxEventBatchSize", default.max_event_batch_size, 1)
    update = section.span("loadBalancingUpdateInterval", default.load_balancing_update_interval, timedelta(seconds=1))
    expiry = section.span(
        "partitionOwnershipExpirationInterval", default.partition_ownership_expiration_interval, timedelta(seconds=2)
    )
    if expiry <= update:
        raise SettingError(
            "host.json: eventHubs.partitionOwnershipExpirationInterval must exceed loadBalancingUpdateInterval, "
            "or every instance takes the partitions of every other"
        )
    return EventHubsOptions(
        max_event_batch_size=largest,
        min_event_batch_size=section.count("minEventBatchSize", default.min_event_batch_size, 1, largest),
        max_wait_time=section.span("maxWaitTime", default.max_wait_time, high=timedelta(minutes=10)),
        batch_checkpoint_frequency=section.count("batchCheckpointFrequency", default.batch_checkpoint_frequency, 1),
        prefetch_count=section.count("prefetchCount", default.prefetch_count, 1, 2000),
        load_balancing_update_interval=update,
        partition_ownership_expiration_interval=expiry,
        initial_offset=_initial_offset(section.section("initialOffsetOptions")),
    )


def _initial_offset(section: _Section) -> InitialOffset:
    kind = section.choice("type", "fromStart", ("fromStart", "fromEnd", "fromEnqueuedTime"))
    text = section.text("enqueuedTimeUtc", "")
    if kind != "fromEnqueuedTime":
        return InitialOffset(type=kind)  # type: ignore[arg-type]
    parse: Callable[[str], datetime] = datetime.fromisoformat
    try:
        moment = parse(text)
    except ValueError:
        raise SettingError(
            f"host.json: extensions.eventHubs.initialOffsetOptions.enqueuedTimeUtc is {text!r}, "
            "it must be a time like 2026-01-31T12:00:00Z"
        ) from None
    return InitialOffset(type="fromEnqueuedTime", enqueued_time=moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def _blobs(section: _Section) -> BlobOptions:
    default = BlobOptions()
    return BlobOptions(
        max_degree_of_parallelism=section.count("maxDegreeOfParallelism", default.max_degree_of_parallelism, 1),
        poison_blob_threshold=section.count("poisonBlobThreshold", default.poison_blob_threshold, 1),
    )
