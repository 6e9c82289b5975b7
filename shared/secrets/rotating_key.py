"""A key that a setting holds or names: one version signs, all that are in use are accepted."""

from collections.abc import Callable
from dataclasses import dataclass, field

from pydantic import SecretStr

from shared.environment import SecretReference

from .cache import SecretCache
from .errors import UnfitSecret
from .versions import Secret

__all__ = ["Keys", "RotatingKey"]


@dataclass(frozen=True, slots=True)
class Keys:
    """What signs, and everything whose signatures are accepted: that, and the versions before or after it."""

    signing: str = field(repr=False)
    accepted: tuple[str, ...] = field(repr=False)


class RotatingKey:
    """The keys of a setting.

    Parameters
    ----------
    setting:
        The key itself, or `secret:<name>`, or `secret:<name>/<version>`.
    secrets:
        Called when a secret is needed, on the event loop.
    least:
        Characters that a key has at least.
    """

    def __init__(self, setting: SecretStr, secrets: Callable[[], SecretCache], *, least: int) -> None:
        text = setting.get_secret_value()
        self.reference = SecretReference.of(text)
        self._secrets = secrets
        self._least = least
        self._fixed = Keys(text, (text,)) if self.reference is None else None
        self._made: tuple[Secret, tuple[Secret, ...], Keys] | None = None

    async def keys(self) -> Keys:
        """The keys of this moment; the same object until there are others.

        Raises
        ------
        SecretError
            They can't be had, or one is too short.
        """
        if self._fixed is not None:
            return self._fixed
        assert self.reference is not None
        cache = self._secrets()
        if self.reference.version is not None:
            pinned = await cache.get(f"{self.reference.name}/{self.reference.version}")
            versions: tuple[Secret, ...] = (pinned,)
        else:
            versions = await cache.both(self.reference.name)
        signer = cache.signer_of(versions)
        if self._made is None or self._made[0] is not signer or self._made[1] != versions:
            self._made = (signer, versions, self._of(signer, versions))
        return self._made[2]

    def _of(self, signer: Secret, versions: tuple[Secret, ...]) -> Keys:
        for secret in versions:
            if len(secret.value) < self._least:
                raise UnfitSecret(secret.name, f"version {secret.version} has fewer than {self._least} characters")
        return Keys(signer.value, (signer.value, *(one.value for one in versions if one is not signer)))
