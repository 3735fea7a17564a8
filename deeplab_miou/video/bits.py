"""Reads the bits of a header."""

from __future__ import annotations

# Exp-Golomb codes of 32 bits have so many zeros at most.
_MOST_ZEROS = 32


class Bits:
    """Reads bits, the most significant of each byte first.

    Args:
        data: the bytes.
    """

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def take(self, count: int) -> int:
        """Return the next bits as a number without sign.

        Raises:
            ValueError: there are not so many.
        """
        self._left -= count
        if self._left < 0:
            raise ValueError("a header ends early")
        return (self._value >> self._left) & ((1 << count) - 1)

    def flag(self) -> bool:
        """Return whether the next bit is set."""
        return bool(self.take(1))

    def golomb(self) -> int:
        """Return a number in Exp-Golomb code, ``ue(v)`` of ITU-T H.264, clause 9.1."""
        zeros = 0
        while not self.flag():
            zeros += 1
            if zeros > _MOST_ZEROS:
                raise ValueError("a header holds a number that is too large")
        return (1 << zeros) - 1 + self.take(zeros)

    def signed_golomb(self) -> int:
        """Return a number with a sign in Exp-Golomb code, ``se(v)``."""
        code = self.golomb()
        return (code + 1) // 2 if code % 2 else -(code // 2)
