"""Which of many numbers were met before, in eight bytes each."""

from array import array
from collections import defaultdict
from functools import partial
from typing import Final

_BUCKETS: Final = 1 << 14


class Met:
    """A set of 64-bit numbers that only grows; Python's own takes ten times the memory of one.

    Meant for hashes: a number's low bits choose its bucket. Of a million different hashes two are equal with a
    probability of one in 37 million.
    """

    def __init__(self) -> None:
        self._buckets: defaultdict[int, array[int]] = defaultdict(partial(array, "q"))

    def add(self, number: int) -> bool:
        """Take a number in (`-2**63 <= number < 2**63`); return whether it was there already."""
        bucket = self._buckets[number % _BUCKETS]
        if number in bucket:
            return True
        bucket.append(number)
        return False
