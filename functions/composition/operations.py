"""Operations: the ids that say where to ask what became of a message, and the keys that sign them."""

from shared.http import OperationSigner
from shared.http.settings import MIN_KEY
from shared.secrets import RotatingKey

from .composition import Composition
from .secrets import secret_cache

__all__ = ["operation_keys", "operation_signer"]


def operation_keys(composition: Composition) -> RotatingKey:
    """What signs, at the moment."""
    return RotatingKey(composition.settings.operation_key, lambda: composition.get(secret_cache), least=MIN_KEY)


def operation_signer(composition: Composition) -> OperationSigner:
    """Signs and reads operation ids."""
    return OperationSigner(composition.get(operation_keys))
