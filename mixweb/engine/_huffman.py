"""
The Huffman code of HPACK (RFC 7541, 5.2 and Appendix B).
"""

from __future__ import annotations

from typing import Any

#: Steps of the Huffman automaton that are kept at most, about 2 MiB.
MAX_STEPS = 16 * 1024

_END_OF_STRING = 256

#: The bits of the code of each octet, and of the end of a string, in base 32 (RFC 7541, Appendix B).
_CODE_LENGTHS = (
    "dnsssssssoussussssssssusssssssss6aacd68baa8b8666555666666678f6cad67777777777777777777777878djde6"
    "f56565666577666567655677777fbedskmkkmmmnmnnnnnonoomnonnnnlmnmnnomlkmmnnlnmmolmnnllmlnmnnkmmmnmmn"
    "qqkjmnmpqqqrrqopjlqrrqrollqqsrrrkoklmllnmmppooqnqrqqrrrrrsrrrrrqu"
)


class HpackError(Exception):
    """A block that cannot be decoded. The decoder is of no use any more (RFC 9113, 4.3)."""


def _assign_codes() -> dict[int, int]:
    """
    The symbols by their codes. The code is canonical: shorter codes come first, among equals those of smaller symbols.

    :returns: by the bits of the code behind a first 1.
    """
    symbols: dict[int, int] = {}
    code = length = 0
    for bits, symbol in sorted((int(digit, 32), symbol) for symbol, digit in enumerate(_CODE_LENGTHS)):
        code <<= bits - length
        length = bits
        symbols[1 << length | code] = symbol
        code += 1
    return symbols


_SYMBOLS = _assign_codes()
_CODES = {symbol: f"{code:b}"[1:] for code, symbol in _SYMBOLS.items()}

#: What may be left at the end of a string: up to seven 1s behind the first.
_PADDING = frozenset((1 << bits) - 1 for bits in range(1, 9))


class HuffmanDecoder:
    """
    Decodes strings octet by octet, by an automaton whose steps are made when they are first needed.

    A state is what is left of a code that has begun, by the bits behind a first 1: a list of its steps by the octet that
    comes next, and that number behind them. A step is what to put out, and the next state.

    :ivar steps: how many there are; beyond :data:`MAX_STEPS` it begins anew.
    """

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self.steps = 0
        self._states: dict[int, list[Any]] = {}
        self._start = self._state(1)

    def decode(self, data: bytes) -> bytes:
        """
        The string of a Huffman code.

        :raises HpackError: when it has the code of the end of a string, or does not end as it must.
        """
        state = self._start
        pieces = []
        for octet in data:
            step = state[octet]
            if step is None:
                step = self._make_step(state, octet)
            piece, state = step
            pieces.append(piece)
        if state[256] not in _PADDING:
            raise HpackError("A Huffman code does not end as it must.")
        return b"".join(pieces)

    def _state(self, bits: int) -> list[Any]:
        state = self._states.get(bits)
        if state is None:
            state = self._states[bits] = [None] * 256 + [bits]
        return state

    def _make_step(self, state: list[Any], octet: int) -> tuple[bytes, list[Any]]:
        piece, bits = b"", state[256]
        for shift in range(7, -1, -1):
            bits = bits << 1 | octet >> shift & 1
            symbol = _SYMBOLS.get(bits)
            if symbol == _END_OF_STRING:
                raise HpackError("A Huffman code has the end of the string in it.")
            if symbol is not None:
                piece += symbol.to_bytes(1, "big")
                bits = 1
        if self.steps == MAX_STEPS:
            self._begin()
        self.steps += 1
        state[octet] = step = piece, self._state(bits)
        return step


decode_huffman = HuffmanDecoder().decode


def encode_huffman(value: bytes) -> bytes:
    """The Huffman code of a string, with the padding that it ends with."""
    bits = "".join([_CODES[octet] for octet in value])
    length = (len(bits) + 7) // 8
    return int(bits.ljust(length * 8, "1") or "0", 2).to_bytes(length, "big")
