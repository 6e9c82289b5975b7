"""Sharing: tables of the lake for recipients outside, by the Delta Sharing protocol."""

from .errors import BadQuestion, LakeAway, NotAllowed, NotReadable, NotShared, SharingError
from .lake import AzureLakeFiles
from .server import Answer, ChangesAsked, LakeFiles, SharingServer, TableQuery
from .shares import SharedTable, Shares
from .tokens import PREFIX, Recipient, ShareToken, ShareTokens, WrongToken

__all__ = [
    "PREFIX",
    "Answer",
    "AzureLakeFiles",
    "BadQuestion",
    "ChangesAsked",
    "LakeAway",
    "LakeFiles",
    "NotAllowed",
    "NotReadable",
    "NotShared",
    "Recipient",
    "ShareToken",
    "ShareTokens",
    "SharedTable",
    "Shares",
    "SharingError",
    "SharingServer",
    "TableQuery",
    "WrongToken",
]
