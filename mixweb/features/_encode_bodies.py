"""
Encoding one body: whole where it is whole, in pieces where it comes in pieces.
"""

from __future__ import annotations

from collections import OrderedDict

from mixweb.kit.codings import Coder, Stream


class Variants:
    """
    Encoded bodies, found again by what they were made of; the least recently used is dropped first.

    A file that is served from memory is the same object each time, so that finding it costs no more than a look.

    :param max_bytes: what it holds at most.
    :ivar weight: what it holds now, in bytes.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.weight = 0
        self._found: OrderedDict[tuple[bytes, bytes], bytes] = OrderedDict()

    def get(self, coding: bytes, body: bytes, coder: Coder) -> bytes:
        """A body in a coding; made if it is not there yet."""
        key = (coding, body)
        encoded = self._found.get(key)
        if encoded is None:
            encoded = coder.whole(body)
            self._keep(key, encoded)
        else:
            self._found.move_to_end(key)
        return encoded

    def _keep(self, key: tuple[bytes, bytes], encoded: bytes) -> None:
        weight = len(key[1]) + len(encoded)
        if weight > self.max_bytes:
            return
        self._found[key] = encoded
        self.weight += weight
        while self.weight > self.max_bytes:
            (_, body), dropped = self._found.popitem(last=False)
            self.weight -= len(body) + len(dropped)


class Encoding:
    """
    A filter for one body.

    :param length: of the body in bytes; ``None`` when it is not known. A piece of that length is the whole body.
    :param variants: where a whole body is kept; ``None`` for nowhere.
    :ivar push: whether the client is to see each piece at once, as one who writes without saying how much wants it.
    """

    def __init__(self, coding: bytes, coder: Coder, length: int | None, variants: Variants | None) -> None:
        self.coding = coding
        self.coder = coder
        self.length = length
        self.variants = variants
        self._whole = False
        self._stream: Stream | None = None

    def feed(self, data: bytes) -> bytes:
        """The next piece, encoded."""
        if self._stream is None:
            if len(data) == self.length:
                self._whole = True
                return (
                    self.coder.whole(data)
                    if self.variants is None
                    else self.variants.get(self.coding, data, self.coder)
                )
            self._stream = self.coder.stream()
        encoded = self._stream.feed(data)
        return encoded if self.length is not None or not data else encoded + self._stream.push()

    def flush(self) -> bytes:
        """The end."""
        if self._whole:
            return b""
        return (self._stream or self.coder.stream()).flush()
