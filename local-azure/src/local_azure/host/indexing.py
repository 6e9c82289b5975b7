"""Loads function_app.py once and turns its functions into what the host runs, refusing what Azure refuses."""

import importlib
import inspect
import json
import re
import sys
import traceback
from collections.abc import Mapping, Sequence
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import azure.functions as func

from local_azure.host.annotations import read_signature
from local_azure.host.errors import IndexingError, StartError
from local_azure.host.functions import Function, RetryPolicy
from local_azure.host.settings import AppSettings
from local_azure.host.time_spans import parse_time_span

__all__ = ["SUPPORTED_OUTPUTS", "SUPPORTED_TRIGGERS", "index_app", "load_app"]

SUPPORTED_TRIGGERS = (
    "httpTrigger", "timerTrigger", "serviceBusTrigger", "eventHubTrigger", "eventGridTrigger", "blobTrigger",
)  # fmt: skip
SUPPORTED_OUTPUTS = ("http",)

_FUNCTION_NAME = re.compile(r"^[a-z][a-z0-9_-]{0,127}$", re.IGNORECASE)
_BINDING_NAME = re.compile(r"^(?:[a-z][a-z0-9]{0,127}|\$return)$", re.IGNORECASE)
_RESERVED_ROUTES = ("admin", "runtime")
_RETRYING_TRIGGERS = ("timerTrigger", "eventHubTrigger")
_INIT_INDEXING = "PYTHON_ENABLE_INIT_INDEXING"


def load_app(folder: Path, settings: Mapping[str, str]) -> func.FunctionRegister:
    """Import the app's script and return its one module-level app object.

    Raises
    ------
    StartError
        The folder has no such script.
    IndexingError
        The import fails, or there is not exactly one app object under exactly one name.
    """
    script = settings.get("PYTHON_SCRIPT_FILE_NAME", "") or "function_app.py"
    if not (folder / script).is_file():
        raise StartError(f"{folder / script} is missing; --app must name the folder of a Python v2 function app")
    module = _import(folder, Path(script).stem)
    found = [name for name in dir(module) if isinstance(getattr(module, name, None), func.FunctionRegister)]
    if len(found) != 1:
        what = f"{len(found)}, under the names {', '.join(found)}" if found else "none"
        raise IndexingError(f"{script} must hold exactly one FunctionApp at module level, it has {what}")
    app: func.FunctionRegister = getattr(module, found[0])
    return app


def _import(folder: Path, module: str) -> ModuleType:
    sys.path.insert(0, str(folder))
    try:
        return importlib.import_module(module)
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if Path(frame.filename).is_relative_to(folder)]
        where = f" at {Path(own[-1].filename).relative_to(folder)}:{own[-1].lineno}" if own else ""
        reason = " ".join(str(error).split())
        raise IndexingError(f"{module}.py cannot be imported{where}: {type(error).__name__}: {reason}") from error


def index_app(app: func.FunctionRegister, settings: AppSettings) -> tuple[tuple[Function, ...], tuple[str, ...]]:
    """The app's functions in the order of their names, as the host lists them, and warnings.

    `get_functions` may be called once in the life of an app object; this is that call.

    Raises
    ------
    IndexingError
        The worker or the host would refuse a function.
    SettingError
        A `%setting%` in a binding does not resolve.
    """
    try:
        found = app.get_functions()
    except Exception as error:
        raise IndexingError(f"the functions cannot be read: {' '.join(str(error).split())}") from error
    if not found:
        raise IndexingError("no functions found: the app object has none registered")
    streams = _http_streams_enabled(settings)
    functions = tuple(
        sorted((_function(each, settings, streams) for each in found), key=lambda each: each.name.lower())
    )
    _refuse_same_names(functions)
    return functions, tuple(_warnings(functions))


def _http_streams_enabled(settings: AppSettings) -> bool:
    """Whether the app imported the streams extension.

    Without init indexing its invocations would hang; workers of Python 3.13 and later index that way at all times.
    """
    base = sys.modules.get("azurefunctions.extensions.base")
    if base is None or not base.HttpV2FeatureChecker.http_v2_enabled():
        return False
    if sys.version_info < (3, 13) and not settings.flag(_INIT_INDEXING):
        raise IndexingError(
            f"the app uses HTTP streams (azurefunctions-extensions-http-fastapi), which hang in Azure without the "
            f"app setting {_INIT_INDEXING}=1"
        )
    return True


def _function(indexed: Any, settings: AppSettings, http_streams: bool) -> Function:
    name = str(indexed.get_function_name())
    if not _FUNCTION_NAME.match(name):
        raise IndexingError(f"function {name}: a name must begin with a letter and hold letters, digits, _ and - only")
    bindings = [_binding(name, each, settings) for each in json.loads(indexed.get_function_json())["bindings"]]
    trigger = _trigger(name, bindings)
    call = indexed.get_user_function()
    signature = read_signature(name, call, bindings, http_streams=http_streams)
    if len(signature.inputs) != 1:
        extra = next(each for each in signature.inputs if each != trigger["name"])
        raise IndexingError(f"function {name}: input bindings are not supported by this host ({extra})")
    return Function(
        name=name,
        call=call,
        is_async=inspect.iscoroutinefunction(call),
        wants_context=signature.wants_context,
        directory=str(Path(inspect.getfile(call)).parent),
        trigger=signature.inputs[trigger["name"]],
        outputs=signature.outputs,
        returns=signature.returns,
        retry=_retry(name, indexed.get_settings_dict("retry_policy")),
        streams_http=http_streams and trigger["type"] == "httpTrigger",
    )


def _binding(function: str, binding: dict[str, Any], settings: AppSettings) -> dict[str, Any]:
    name = str(binding["name"])
    if not _BINDING_NAME.match(name):
        raise IndexingError(f"function {function}: the host refuses the binding name {name} (letters and digits only)")
    where = f"function {function}, binding {name}"
    # A connection names a setting by itself; everything else may refer to one.
    return {
        key: settings.resolve(value, where) if isinstance(value, str) and key != "name" else value
        for key, value in binding.items()
    }


def _trigger(function: str, bindings: Sequence[dict[str, Any]]) -> dict[str, Any]:
    triggers = [each for each in bindings if str(each["type"]).lower().endswith("trigger")]
    if len(triggers) != 1:
        raise IndexingError(f"function {function}: exactly one trigger is needed, it has {len(triggers)}")
    trigger = triggers[0]
    if trigger["type"] not in SUPPORTED_TRIGGERS:
        raise IndexingError(
            f"function {function}: the trigger {trigger['type']} is not supported by this host "
            f"(supported: {', '.join(SUPPORTED_TRIGGERS)})"
        )
    for binding in bindings:
        if binding["direction"] == "OUT" and binding["type"] not in SUPPORTED_OUTPUTS:
            raise IndexingError(
                f"function {function}: the output binding {binding['type']} is not supported by this host "
                f"(supported: {', '.join(SUPPORTED_OUTPUTS)})"
            )
    if trigger["type"] == "httpTrigger":
        _check_route(function, str(trigger.get("route") or ""))
    return trigger


def _check_route(function: str, route: str) -> None:
    if route.strip("/").lower().startswith(_RESERVED_ROUTES):
        raise IndexingError(
            f"function {function}: the host refuses the route {route!r}; 'admin' and 'runtime' are its own"
        )


def _retry(function: str, policy: Mapping[str, Any] | None) -> RetryPolicy | None:
    if not policy:
        return None
    strategy = policy.get("strategy")
    if strategy not in ("fixed_delay", "exponential_backoff"):
        raise IndexingError(
            f"function {function}: a retry strategy is fixed_delay or exponential_backoff, not {strategy!r}"
        )
    try:
        count = int(str(policy.get("max_retry_count")))
    except ValueError:
        raise IndexingError(f"function {function}: max_retry_count must be a whole number") from None

    def interval(name: str) -> timedelta:
        try:
            return parse_time_span(str(policy.get(name)))
        except ValueError:
            raise IndexingError(f"function {function}: the retry policy needs {name} as HH:MM:SS") from None

    if strategy == "fixed_delay":
        return RetryPolicy(strategy=strategy, max_retry_count=count, delay=interval("delay_interval"))
    return RetryPolicy(
        strategy=strategy,
        max_retry_count=count,
        minimum=interval("minimum_interval"),
        maximum=interval("maximum_interval"),
    )


def _refuse_same_names(functions: Sequence[Function]) -> None:
    for one, other in pairwise(functions):
        if one.name.lower() == other.name.lower():
            raise IndexingError(f"function {one.name}: the name is taken twice (case does not count)")


def _warnings(functions: Sequence[Function]) -> list[str]:
    return [
        f"function {each.name}: a retry policy has no effect on {each.trigger_type}"
        for each in functions
        if each.retry and each.trigger_type not in _RETRYING_TRIGGERS
    ]
