"""Blobs as the storage extension and the host send them to the worker."""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from azure.functions.meta import Datum

from local_azure.host.trigger_data import values
from local_azure.host.trigger_data.net_json import net_datetime_offset
from local_azure.host.trigger_data.values import Metadata

__all__ = ["ReceivedBlob", "blob"]

_NEVER = net_datetime_offset(datetime.min.replace(tzinfo=UTC))
# Numbers of .NET's enums, in their order.
_TYPES = ("BlockBlob", "PageBlob", "AppendBlob")
_LEASE_STATES = ("available", "leased", "expired", "breaking", "broken")
_LEASE_STATUSES = ("locked", "unlocked")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedBlob:
    """What a trigger can see of a blob. Texts are as storage says them; `etag` never reaches the worker."""

    container: str
    name: str
    url: str
    content: bytes
    last_modified: datetime
    created: datetime
    blob_type: str = "BlockBlob"
    lease_state: str = "available"
    lease_status: str = "unlocked"
    content_type: str | None = None
    content_encoding: str | None = None
    content_disposition: str | None = None
    content_language: str | None = None
    cache_control: str | None = None
    content_md5: bytes | None = None
    access_tier: str | None = None
    access_tier_inferred: bool = False
    access_tier_changed: datetime | None = None
    server_encrypted: bool = True
    sequence_number: int = 0
    metadata: Mapping[str, str] = field(default_factory=dict)
    path_values: Mapping[str, str] = field(default_factory=dict)


def _index(names: tuple[str, ...], value: str) -> int:
    return names.index(value) if value in names else 0


def _properties(given: ReceivedBlob) -> dict[str, object]:
    """`BlobProperties` of Azure.Storage.Blobs, property by property in its order."""
    changed = given.access_tier_changed
    return {
        "LastModified": net_datetime_offset(given.last_modified),
        "CreatedOn": net_datetime_offset(given.created),
        "Metadata": dict(given.metadata),
        "ObjectReplicationDestinationPolicyId": None,
        "ObjectReplicationSourceProperties": None,
        "BlobType": _index(_TYPES, given.blob_type),
        "CopyCompletedOn": _NEVER,
        "CopyStatusDescription": None,
        "CopyId": None,
        "CopyProgress": None,
        "CopySource": None,
        "CopyStatus": 0,
        "BlobCopyStatus": None,
        "IsIncrementalCopy": False,
        "DestinationSnapshot": None,
        "LeaseDuration": 0,
        "LeaseState": _index(_LEASE_STATES, given.lease_state),
        "LeaseStatus": _index(_LEASE_STATUSES, given.lease_status),
        "ContentLength": len(given.content),
        "ContentType": given.content_type,
        "ETag": {},
        "ContentHash": None if given.content_md5 is None else b64encode(given.content_md5).decode(),
        "ContentEncoding": given.content_encoding,
        "ContentDisposition": given.content_disposition,
        "ContentLanguage": given.content_language,
        "CacheControl": given.cache_control,
        "BlobSequenceNumber": given.sequence_number,
        "AcceptRanges": "bytes",
        "BlobCommittedBlockCount": 0,
        "IsServerEncrypted": given.server_encrypted,
        "EncryptionKeySha256": None,
        "EncryptionScope": None,
        "AccessTier": given.access_tier,
        "AccessTierInferred": given.access_tier_inferred,
        "ArchiveStatus": None,
        "AccessTierChangedOn": _NEVER if changed is None else net_datetime_offset(changed),
        "VersionId": None,
        "IsLatestVersion": False,
        "TagCount": 0,
        "ExpiresOn": _NEVER,
        "IsSealed": False,
        "RehydratePriority": None,
        "LastAccessed": _NEVER,
        "ImmutabilityPolicy": {"ExpiresOn": None, "PolicyMode": None},
        "HasLegalHold": False,
    }


def blob(given: ReceivedBlob) -> tuple[Datum, Metadata]:
    """Data and metadata of one blob; the data are bytes, whatever the binding's `dataType`."""
    metadata = {
        "BlobTrigger": values.text(f"{given.container}/{given.name}"),
        "Uri": values.json_datum(given.url),
        "Properties": values.json_datum(_properties(given)),
        "Metadata": values.json_datum(dict(given.metadata)),
        **{name: values.text(value) for name, value in given.path_values.items()},
    }
    return Datum(given.content, "bytes"), metadata
