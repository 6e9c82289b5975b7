"""Encrypts the protected fields of a model one by one, and decrypts them: how they are stored, and nothing else.

A protected value becomes a text, `slp1.…`, that decrypts only where it belongs: the additional authenticated data
(AAD) names the row or event and the field. Beside a tokenized field stands its token, under the field's name and
`$token`. None stays None.

The key is that of the person whom the object is about, where its model says so and the value is known, else the
app's own. Keys are asked for once for each text; the fields themselves take no waiting.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import cache
from typing import NamedTuple

from pydantic import BaseModel
from pydantic_core import from_json, to_json

from shared.classification import Plan, ProtectedValue, Tokenized, leaves, plan_of
from shared.encryption import (
    TEXT_PREFIX,
    DataKey,
    DataKeys,
    Erased,
    Keyring,
    KeysUnavailable,
    SubjectKeys,
    TooLong,
    UnknownKey,
    decrypt,
    encrypt_text,
    encrypted_bytes,
    is_encrypted_text,
    key_id_of,
)
from shared.resilience import BoundedCache
from shared.tokenization import TokenKeys, Tokens

__all__ = ["AssociatedData", "EncryptedModel", "FieldProtection", "clear_text", "require_clear", "token_name"]

AssociatedData = tuple[str, ...]
"""What encrypted fields are bound to: what kind of row or event holds them, and its names; none has U+001F in it."""


_REMEMBERED = 4_096
_LONGEST = 4_096
"""Characters of the longest value that has a token."""


class EncryptedModel(NamedTuple):
    """A model as JSON with its protected fields encrypted, and the tokens of its own tokenized fields by JSON name."""

    text: str
    tokens: Mapping[str, str]


def token_name(name: str) -> str:
    """The name under which the token of a field stands beside it."""
    return f"{name}$token"


def require_clear(found: Iterable[ProtectedValue]) -> None:
    """Raise UnknownKey where a field is encrypted: for an app that has no keys any more."""
    for one in found:
        if _encrypted_text(one) is not None:
            raise UnknownKey(f"The field {one.path} is encrypted, and no keys are configured here.")


def clear_text(text: str, model: type[BaseModel]) -> str:
    """JSON that is read without keys; raises UnknownKey where a field of it is encrypted."""
    if TEXT_PREFIX in text and (plan := plan_of(model)).protects:
        require_clear(leaves(plan, from_json(text)))
    return text


class FieldProtection:
    """Encrypts and decrypts models field by field.

    Parameters
    ----------
    token_keys:
        What names people and tokenized values; a person's key is found by the token. Without it there are no tokens,
        every field is encrypted under the app's own key, and nobody can be erased.
    """

    def __init__(self, data_keys: DataKeys, subject_keys: SubjectKeys, token_keys: TokenKeys | None) -> None:
        self._data_keys = data_keys
        self._subject_keys = subject_keys
        self._keyring = Keyring(data_keys, subject_keys)
        self._token_keys = token_keys
        self._named_by: Tokens | None = None
        self._named: BoundedCache[tuple[Tokenized, str], str] = BoundedCache(_REMEMBERED)

    async def encrypt(self, data: BaseModel, aad: AssociatedData) -> EncryptedModel:
        """A model as JSON, its protected fields encrypted.

        Raises
        ------
        KeysUnavailable
        """
        plan = plan_of(type(data))
        if not plan.protects:
            return EncryptedModel(data.model_dump_json(by_alias=True), {})
        parsed = data.model_dump(mode="json", by_alias=True)
        tokens = await self._tokens()
        found = leaves(plan, parsed)
        keys = {person: await self._key_of(person, tokens) for person in {one.person for one in found}}
        prefix = _aad(aad)
        for holder, name, leaf, path, person in found:
            value = holder[name]
            holder[name] = encrypt_text(keys[person], to_json(value).decode(), aad=prefix + path.encode())
            if leaf.token is not None and tokens is not None:
                holder[token_name(name)] = self._token(tokens, leaf.token, str(value))
        named = {name: parsed.get(token_name(name)) for name in plan.tokenized}
        return EncryptedModel(
            to_json(parsed).decode(), {name: token for name, token in named.items() if token is not None}
        )

    async def _tokens(self) -> Tokens | None:
        if self._token_keys is None:
            return None
        try:
            return await self._token_keys.tokens()
        except Exception as error:
            raise KeysUnavailable(f"the token key can't be read now: {type(error).__name__}") from error

    async def _key_of(self, person: tuple[str, str] | None, tokens: Tokens | None) -> DataKey:
        if person is None or tokens is None:
            return self._data_keys.peek_current() or await self._data_keys.current()
        token = self._token(tokens, Tokenized(person[0]), person[1])
        known = self._subject_keys.peek_for(token)
        if known is not None:
            return known
        return await self._subject_keys.key_for(token, formerly=tokens.candidates(*person)[1:])

    def _token(self, tokens: Tokens, marker: Tokenized, value: str) -> str:
        """The token of a value; of those that were asked for last it is remembered."""
        if tokens is not self._named_by:
            self._named_by = tokens
            self._named.clear()
        token = self._named.get((marker, value))
        if token is None:
            if len(value) > _LONGEST:
                raise TooLong(f"A value of {len(value)} characters has no token, at most {_LONGEST} have.")
            made = tokens.token(marker.kind, value, keep_format=marker.keep_format)
            token = self._named.put((marker, value), made)
        return token

    async def decrypt(self, text: str, model: type[BaseModel], aad: AssociatedData) -> str:
        """JSON in clear of what was encrypted with the same additional data.

        What was stored before fields were encrypted is passed on.

        Raises
        ------
        ProtectionError
            A field was changed, moved, or encrypted under a key that isn't there.
        KeysUnavailable
        """
        plan = plan_of(model)
        if not plan.protects:
            return text
        parsed = from_json(text)
        await self.decrypt_leaves(leaves(plan, parsed), aad)
        return to_json(parsed).decode()

    async def decrypt_leaves(self, found: Iterable[ProtectedValue], aad: AssociatedData) -> list[str]:
        """Decrypt fields where they stand, and take away their tokens; returns the paths of those that were erased."""
        encrypted = [(one, encrypted_bytes(text)) for one in found if (text := _encrypted_text(one)) is not None]
        ids = [key_id_of(content) for _, content in encrypted]
        keys = {key_id: await self._find(key_id) for key_id in dict.fromkeys(ids)}
        erased: list[str] = []
        prefix = _aad(aad)
        for ((holder, name, leaf, path, _), content), key_id in zip(encrypted, ids, strict=True):
            key = keys[key_id]
            holder[name] = None if key is None else from_json(decrypt(key, content, aad=prefix + path.encode()))
            if key is None:
                erased.append(path)
            if leaf.token is not None:
                holder.pop(token_name(name), None)
        return erased

    async def readable_keys(self, found: Iterable[ProtectedValue]) -> frozenset[str]:
        """Ids of the keys that fields are encrypted under, but for erased ones; raises KeysUnavailable, UnknownKey."""
        ids = {key_id_of(encrypted_bytes(text)) for one in found if (text := _encrypted_text(one)) is not None}
        return frozenset([key_id for key_id in ids if await self._find(key_id) is not None])

    async def still_readable(self, keys: Iterable[str]) -> bool:
        """Whether none of some keys was erased; raises KeysUnavailable."""
        for key_id in keys:
            if await self._find(key_id) is None:
                return False
        return True

    async def _find(self, key_id: str) -> DataKey | None:
        """The key with an id; None where its person was erased."""
        try:
            return self._keyring.peek(key_id) or await self._keyring.get(key_id)
        except Erased:
            return None

    async def refuse_erased(self, data: BaseModel, accepted_at: datetime) -> None:
        """Raise Erased where a person whom a message is about was erased after the message was accepted.

        Raises
        ------
        Erased, KeysUnavailable
        """
        plan = plan_of(type(data))
        if not _is_personal(plan) or (tokens := await self._tokens()) is None:
            return
        found = leaves(plan, data.model_dump(mode="json", by_alias=True))
        for person in {one.person for one in found if one.person is not None}:
            for token in tokens.candidates(*person):
                erased = await self._subject_keys.erased_at(token)
                if erased is not None and accepted_at < erased:
                    raise Erased("The person whom this is about was erased after it was accepted.")

    async def encrypt_whole(self, text: str, aad: AssociatedData) -> str:
        """A whole text, encrypted under the app's own key."""
        key = self._data_keys.peek_current() or await self._data_keys.current()
        return encrypt_text(key, text, aad=_aad(aad))

    async def decrypt_whole(self, text: str, aad: AssociatedData) -> str:
        """What was encrypted whole; a text that isn't encrypted is passed on."""
        return await self._keyring.decrypt_text(text, aad=_aad(aad)) if is_encrypted_text(text) else text

    async def candidates(self, marker: Tokenized, value: str) -> tuple[str, ...]:
        """The tokens by which a tokenized value may be found: the current one, then those under earlier keys."""
        tokens = await self._tokens()
        return () if tokens is None else tokens.candidates(marker.kind, value)

    async def payload_hashes(self, digest: str) -> tuple[str, ...]:
        """A payload's hash as it is stored, then as it was stored under earlier keys.

        Under the token key: whoever sees it can't try which payload it belongs to. Without one it stays as it is.
        """
        tokens = await self._tokens()
        return (digest,) if tokens is None else (*tokens.candidates("payload", digest), digest)


@cache
def _is_personal(plan: Plan) -> bool:
    return bool(plan.subjects())


def _encrypted_text(found: ProtectedValue) -> str | None:
    value = found.holder[found.name]
    return value if isinstance(value, str) and is_encrypted_text(value) else None


def _aad(aad: AssociatedData) -> bytes:
    return "\x1f".join((*aad, "")).encode()
