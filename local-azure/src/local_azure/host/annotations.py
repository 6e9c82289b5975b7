"""Refuses the parameter and return annotations that the Python worker refuses, before a deployment does."""

import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any

import azure.functions as func
from azure.functions._thirdparty import typing_inspect  # what the worker itself decides by

from local_azure.host.errors import IndexingError
from local_azure.host.functions import Parameter

__all__ = ["Signature", "read_signature"]

_IMPLICIT_RETURN = "$return"


class Signature(typing.NamedTuple):
    """The bound parameters of a function as the worker would see them."""

    inputs: dict[str, Parameter]
    outputs: tuple[Parameter, ...]
    returns: Parameter | None
    wants_context: bool


def read_signature(
    name: str, call: Callable[..., Any], bindings: list[dict[str, Any]], *, http_streams: bool
) -> Signature:
    """Match a function's parameters with its bindings.

    Parameters
    ----------
    bindings
        The bindings with their function.json names.
    http_streams
        Whether the app has imported the HTTP streams extension, which changes what HTTP functions may take.

    Raises
    ------
    IndexingError
        A parameter without binding, a binding without parameter, or an annotation that does not fit.
    """
    try:
        parameters = dict(inspect.signature(call).parameters)
        hints = typing.get_type_hints(call)
    except (TypeError, ValueError, NameError, AttributeError) as error:
        raise IndexingError(f"function {name}: its signature cannot be read ({error})") from None
    bound = {str(binding["name"]): binding for binding in bindings if binding["name"] != _IMPLICIT_RETURN}
    wants_context = _takes_context(name, parameters, bound, hints)
    _match_names(name, parameters, bound)
    inputs: dict[str, Parameter] = {}
    outputs: list[Parameter] = []
    for parameter in parameters:
        read = _parameter(name, parameter, bound[parameter], hints, http_streams)
        if bound[parameter]["direction"] == "OUT":
            outputs.append(read)
        else:
            inputs[parameter] = read
    returns = next((binding for binding in bindings if binding["name"] == _IMPLICIT_RETURN), None)
    return Signature(inputs, tuple(outputs), _returned(name, returns, hints, http_streams), wants_context)


def _takes_context(
    name: str, parameters: dict[str, inspect.Parameter], bound: Mapping[str, Any], hints: Mapping[str, Any]
) -> bool:
    if "context" not in parameters or "context" in bound:
        return False
    del parameters["context"]
    annotation = hints.get("context")
    if annotation is not None and getattr(annotation, "__name__", "") != "Context":
        raise IndexingError(
            f"function {name}: the parameter context must be annotated azure.functions.Context or not at all"
        )
    return True


def _match_names(name: str, parameters: Mapping[str, Any], bound: Mapping[str, Any]) -> None:
    if unbound := sorted(set(parameters) - set(bound)):
        raise IndexingError(
            f"function {name}: the parameter {unbound[0]} belongs to no binding "
            "(the trigger's is named by arg_name; the context's must be 'context')"
        )
    if missing := sorted(set(bound) - set(parameters)):
        raise IndexingError(f"function {name}: the binding {missing[0]} has no parameter of that name")


def _parameter(
    function: str, name: str, binding: dict[str, Any], hints: Mapping[str, Any], http_streams: bool
) -> Parameter:
    annotation = hints.get(name)
    kind, is_output = str(binding["type"]), binding["direction"] == "OUT"
    annotated_out = _is_out(annotation)
    if annotation is not None and is_output != annotated_out:
        expected = "azure.functions.Out[...]" if is_output else "the type of what comes in, not Out"
        raise IndexingError(f"function {function}: the parameter {name} must be annotated with {expected}")
    if annotated_out:
        annotation = _out_argument(function, name, annotation)
    if annotation is None:
        return Parameter(name=name, converter=kind, annotation=None, binding=binding)
    if not isinstance(annotation, type) and not typing_inspect.is_generic_type(annotation):
        raise IndexingError(
            f"function {function}: the worker refuses the annotation {annotation!r} of {name} "
            "(typing.List[...] is taken, list[...] and unions are not)"
        )
    converter = "generic" if annotation in (str, bytes) else kind
    if not _fits(converter, annotation, is_output, http_streams):
        raise IndexingError(
            f"function {function}: the annotation {_named(annotation)} of {name} does not fit its binding {kind}"
            f"{_advice(annotation, kind, http_streams)}"
        )
    return Parameter(name=name, converter=converter, annotation=annotation, binding=binding)


def _advice(annotation: Any, kind: str, http_streams: bool) -> str:
    """What to write instead where an app with HTTP streams takes a request as one without, or the other way round."""
    if kind != "httpTrigger":
        return ""
    if http_streams:
        return (
            ": the app imports azurefunctions.extensions.http.fastapi, so every HTTP function takes its Request "
            "(from azurefunctions.extensions.http.fastapi import Request)"
        )
    return ": use azure.functions.HttpRequest" if getattr(annotation, "__name__", "") == "Request" else ""


def _is_out(annotation: Any) -> bool:
    origin = typing_inspect.get_origin(annotation) if typing_inspect.is_generic_type(annotation) else annotation
    return isinstance(origin or annotation, type) and getattr(origin or annotation, "__name__", "") == "Out"


def _out_argument(function: str, name: str, annotation: Any) -> Any:
    arguments = typing.get_args(annotation)
    if len(arguments) != 1:
        raise IndexingError(f"function {function}: the annotation of {name} must say what goes out, like Out[str]")
    return arguments[0]


def _fits(converter: str, annotation: Any, is_output: bool, http_streams: bool) -> bool:
    if http_streams and converter in ("httpTrigger", "http"):
        return _fits_http_streams(annotation, is_output)
    if converter == "generic":
        return True
    registered = func.get_binding_registry().get(converter)
    check = registered.check_output_type_annotation if is_output else registered.check_input_type_annotation
    try:
        return bool(check(annotation))
    except TypeError:  # issubclass() of something that is no class, where the worker fails as well
        return False


def _fits_http_streams(annotation: Any, is_output: bool) -> bool:
    from azurefunctions.extensions.base import RequestTrackerMeta, ResponseTrackerMeta

    return bool((ResponseTrackerMeta if is_output else RequestTrackerMeta).check_type(annotation))


def _returned(
    function: str, binding: dict[str, Any] | None, hints: Mapping[str, Any], http_streams: bool
) -> Parameter | None:
    if binding is None:
        return None
    kind = str(binding["type"])
    if "return" not in hints:
        return Parameter(name=_IMPLICIT_RETURN, converter=kind, annotation=None, binding=binding)
    annotation = hints["return"]
    if not isinstance(annotation, type) or not _fits(kind, annotation, True, http_streams):
        raise IndexingError(
            f"function {function}: the worker refuses the return annotation {_named(annotation)} for {kind}"
            + (": use a Response of azurefunctions.extensions.http.fastapi" if kind == "http" and http_streams else "")
        )
    return Parameter(name=_IMPLICIT_RETURN, converter=kind, annotation=annotation, binding=binding)


def _named(annotation: Any) -> str:
    return getattr(annotation, "__name__", None) or repr(annotation)
