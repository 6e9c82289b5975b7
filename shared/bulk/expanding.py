"""Compressed bodies, expanded piece by piece within bounds: what comes of them is never held whole. No I/O."""

import zlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Protocol

from shared.messages import ErrorCode

from .errors import CannotGoOn

if TYPE_CHECKING:
    from shared.blobs.zstandard import zstd

__all__ = ["ENCODINGS", "expander"]

PIECE = 256 * 1024
"""Most that is expanded in one go."""
MOST_TIMES = 100
"""How many times its size a body may become; JSON lines become 5 to 30 times theirs."""
ALWAYS = 8 * 1024 * 1024
"""So many bytes may come of any body, whatever its ratio: a plain one may have as many."""
_WINDOW_LOG_MAX = 23
"""A zstd frame may ask the reader for a window of 8 MiB, no more (RFC 8878, 3.1.1.1.2)."""


class _Decompressor(Protocol):
    """One way to expand."""

    def expanded(self, data: bytes) -> Iterator[bytes]:
        """Pieces of at most `PIECE` bytes; raises ValueError where `data` is no such thing."""

    @property
    def is_complete(self) -> bool:
        """Whether what was fed may end here."""


class _Gzip:
    """One member after another, as RFC 1952 has it."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(16 + zlib.MAX_WBITS)
        self.is_complete = False

    def expanded(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._member.eof:
                self._member = zlib.decompressobj(16 + zlib.MAX_WBITS)
            try:
                piece = self._member.decompress(data, PIECE)
            except zlib.error as error:
                raise ValueError(str(error)) from None
            data = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
            self.is_complete = self._member.eof
            if piece:
                yield piece
        while not self._member.eof and (piece := self._more()):
            yield piece

    def _more(self) -> bytes:
        """What is left in the member's memory once its input is used up."""
        try:
            return self._member.decompress(b"", PIECE)
        except zlib.error as error:
            raise ValueError(str(error)) from None


class _Zstd:
    """One frame after another."""

    def __init__(self) -> None:
        from shared.blobs.zstandard import zstd

        self._zstd = zstd
        self._frame = self._new()
        self.is_complete = False

    def _new(self) -> "zstd.ZstdDecompressor":
        return self._zstd.ZstdDecompressor(options={self._zstd.DecompressionParameter.window_log_max: _WINDOW_LOG_MAX})

    def expanded(self, data: bytes) -> Iterator[bytes]:
        while data or not self._frame.needs_input:
            if self._frame.eof:
                data = data or self._frame.unused_data
                if not data:
                    return
                self._frame = self._new()
            try:
                piece = self._frame.decompress(data, max_length=PIECE)
            except self._zstd.ZstdError as error:
                raise ValueError(str(error)) from None
            data = self._frame.unused_data if self._frame.eof else b""
            self.is_complete = self._frame.eof
            if piece:
                yield piece
            if self._frame.eof and not data:
                return


class _Brotli:
    """RFC 7932: one stream, and nothing after it."""

    def __init__(self) -> None:
        import brotli

        self._brotli = brotli
        self._stream = brotli.Decompressor()

    @property
    def is_complete(self) -> bool:
        return bool(self._stream.is_finished())

    def expanded(self, data: bytes) -> Iterator[bytes]:
        if self.is_complete:
            raise ValueError("something follows its end")
        while True:
            try:
                piece = self._stream.process(data, output_buffer_limit=PIECE)
            except self._brotli.error as error:
                raise ValueError(str(error)) from None
            data = b""
            yield piece
            if self._stream.is_finished() or (self._stream.can_accept_more_data() and not piece):
                return


class _Plain:
    """As it is."""

    is_complete = True

    def expanded(self, data: bytes) -> Iterator[bytes]:
        for start in range(0, len(data), PIECE):
            yield data[start : start + PIECE]


_MADE: dict[str, Callable[[], _Decompressor]] = {"gzip": _Gzip, "zstd": _Zstd, "br": _Brotli, "identity": _Plain}
ENCODINGS = frozenset(_MADE)
"""Content codings that a bulk may have (RFC 9110, 8.4.1)."""


def expander(encoding: str, *, largest: int) -> "Expander":
    """What expands bodies of one of `ENCODINGS`, to `largest` bytes at most."""
    return Expander(_MADE[encoding](), largest=largest, is_plain=encoding == "identity")


class Expander:
    """Counts what goes in and what comes out."""

    def __init__(self, decompressor: _Decompressor, *, largest: int, is_plain: bool) -> None:
        self._decompressor = decompressor
        self._largest = largest
        self._most_times = 1 if is_plain else MOST_TIMES
        self._came = self._became = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The pieces of what was compressed; to be used up before more is fed.

        Raises
        ------
        CannotGoOn
            It isn't in that coding, or becomes too much.
        """
        self._came += len(data)
        try:
            for piece in self._decompressor.expanded(data):
                self._became += len(piece)
                if self._became > min(self._largest, max(ALWAYS, self._most_times * self._came)):
                    raise CannotGoOn(ErrorCode.PAYLOAD_TOO_LARGE, "The body becomes too large when it is decompressed.")
                yield piece
        except ValueError:
            raise CannotGoOn(ErrorCode.BAD_REQUEST, "The body isn't in its Content-Encoding.") from None

    def finish(self) -> None:
        """Raise CannotGoOn where the end is missing."""
        if self._came and not self._decompressor.is_complete:
            raise CannotGoOn(ErrorCode.INCOMPLETE_BODY, "The compressed body ended before it was complete.")
