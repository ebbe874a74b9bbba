"""Text files of numbers: bytes in, words with places, energies out; and files written whole or not at all.

A probability p is the energy -log p in nats; 0 is +inf. Words that a float64 cannot hold ("1e-400", or the
twenty digits of 0.99999999999999999999) are read and written with decimal arithmetic, so that an energy survives
a text file.
"""

import decimal
import gzip
import io
import itertools
import os
import re
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from factorgraph_ebm.errors import FormatError

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
PathLike = str | os.PathLike[str]

LIMIT_BYTES = 2**31
"""The most bytes that one file may unpack to, and that all its tables may take."""

_GZIP = b"\x1f\x8b"
_SMALLEST_NORMAL = float(np.finfo(np.float64).tiny)
# So many digits always fit an int64.
_INTEGER_DIGITS = 18
# A word shorter than this near 1 is a float64 written out: its logarithm needs no further digits.
_LONG_WORD = 19


def bytes_in_words(count: float) -> str:
    """Say a number of bytes for humans.

    Examples
    --------
    >>> bytes_in_words(8e12)
    '8,000,000,000,000 bytes (7.28 TiB)'
    >>> bytes_in_words(96)
    '96 bytes'
    """
    size, unit = count, ""
    for unit in ("", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"):
        if size < 1024 or unit == "EiB":
            break
        size /= 1024
    return f"{count:,.0f} bytes" + (f" ({size:.2f} {unit})" if unit else "")


def read_bytes(path: PathLike) -> bytes:
    """Return the content of a file, unpacked where it is gzip by content, whatever its name.

    Raises
    ------
    FormatError : a broken gzip stream, or more than LIMIT_BYTES.
    OSError : the file cannot be read.
    """
    size = os.stat(path).st_size
    if size > LIMIT_BYTES:
        raise FormatError(f"{path}: the file has {bytes_in_words(size)}; the limit is {bytes_in_words(LIMIT_BYTES)}.")
    with open(path, "rb") as file:
        data = file.read()
    if not data.startswith(_GZIP):
        return data
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as packed:
            unpacked = packed.read(LIMIT_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise FormatError(f"{path}: broken gzip file: {error}.") from None
    if len(unpacked) > LIMIT_BYTES:
        raise FormatError(f"{path}: the gzip file unpacks to more than the limit of {bytes_in_words(LIMIT_BYTES)}.")
    return unpacked


def read_text(path: PathLike) -> str:
    """Return the text of a file (UTF-8, gzip by content). Errors as in `read_bytes`."""
    data = read_bytes(path)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise FormatError(f"{path}, line {line}: not text: byte 0x{data[error.start]:02x}.") from None


def write_bytes(path: PathLike, data: bytes) -> None:
    """Write a file under a temporary name beside it, then rename: a reader never sees half a file.

    A name that ends in .gz is packed, without a time stamp, so equal content gives equal bytes.
    """
    target = Path(path)
    if target.suffix == ".gz":
        data = gzip.compress(data, mtime=0)
    handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        # mkstemp makes files private; a model file has the permissions of any new file.
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise


class Words:
    """The words of a text file, in order, and errors that name file, line and word.

    Parameters
    ----------
    path : named in messages
    text : the whole content
    pattern : a regular expression that finds one word
    """

    def __init__(self, path: PathLike, text: str, pattern: re.Pattern[str] = re.compile(r"\S+")) -> None:
        self.path = path
        self.text = text
        self.pattern = pattern
        # split() is several times faster than the regular expression that says the same.
        self.words = text.split() if pattern.pattern == r"\S+" else pattern.findall(text)

    def __len__(self) -> int:
        return len(self.words)

    def line(self, index: int) -> int:
        """Return the line (from 1) of word `index`; past the end, the line of the last word."""
        index = min(index, len(self.words) - 1)
        if index < 0:
            return 1
        # Places are searched again only where something is wrong: reading stays fast.
        start = next(itertools.islice(self.pattern.finditer(self.text), index, None)).start()
        return self.text.count("\n", 0, start) + 1

    def show(self, index: int) -> str:
        """Return word `index` in quotes, shortened."""
        word = self.words[index]
        return f'"{word if len(word) <= 40 else word[:37] + "..."}"'

    def error(self, index: int, message: str) -> FormatError:
        """Return the error that says `message` about word `index`."""
        return FormatError(f"{self.path}, line {self.line(index)}: {message}")

    def expected(self, index: int, what: str) -> FormatError:
        """Return the error of a word that is not `what`, or of a file that ends before it."""
        if index >= len(self.words):
            return self.error(index, f"the file ends where {what} should come.")
        return self.error(index, f"expected {what}, found {self.show(index)}.")

    def integer(self, index: int, what: str) -> int:
        """Return word `index` as an int >= 0."""
        return self.integers(index, index + 1, what)[0]

    def integers(self, start: int, stop: int, what: str) -> list[int]:
        """Return words start .. stop as ints >= 0.

        Raises
        ------
        FormatError : a word that is something else, or the end of the file.
        """
        words = self.words[start:stop]
        # int() also reads "+1", "1_000" and " 1 ": only plain digits are numbers in these files.
        if not "".join(words).isdecimal() and words:
            place = next(place for place, word in enumerate(words) if not word.isdecimal())
            raise self.expected(start + place, f"{what} (an integer >= 0)")
        if len(words) < stop - start:
            raise self.expected(len(self.words), what)
        longest = max(map(len, words), default=0)
        if longest > _INTEGER_DIGITS:
            place = next(place for place, word in enumerate(words) if len(word) == longest)
            raise self.error(start + place, f"{what} is {self.show(start + place)}: too large for any computer.")
        return list(map(int, words))

    def integers_at(self, places: I64, what: str) -> I64:
        """Return the words at `places` as ints >= 0; as `integers`, for many words that stand apart."""
        found = [self.words[place] for place in places.tolist()]
        if found and not ("".join(found).isdecimal() and max(map(len, found)) <= _INTEGER_DIGITS):
            for place in places.tolist():
                self.integers(place, place + 1, what)
        return np.fromiter(map(int, found), np.int64, len(found))

    def energies(self, words: Sequence[str], places: Sequence[int], what: str) -> F64:
        """Return -log of each word, +inf for 0; `places` are their indices, for messages.

        Raises
        ------
        FormatError : a word that is not a finite number >= 0.
        """
        try:
            numbers = np.fromiter(map(float, words), np.float64, len(words))
        except ValueError:
            numbers = np.fromiter(map(_number_or_nan, words), np.float64, len(words))
        if "_" in self.text:
            # float() also reads "1_000".
            numbers[np.fromiter(("_" in word for word in words), np.bool_, len(words))] = np.nan
        with np.errstate(divide="ignore", invalid="ignore"):
            # + 0.0 makes the energy of probability 1 plain 0, not -0.
            energies: F64 = -np.log(numbers) + 0.0
        lengths = np.fromiter(map(len, words), np.int64, len(words))
        doubtful = (numbers < _SMALLEST_NORMAL) | (numbers == np.inf)
        doubtful |= (lengths >= _LONG_WORD) & (np.abs(numbers - 1.0) < 0.01)
        where = np.flatnonzero(doubtful).tolist()
        asked = [words[place] for place in where]
        exact = {word: _decimal_energy(word) for word in set(asked)}
        energies[where] = np.fromiter(map(exact.__getitem__, asked), np.float64, len(where))
        wrong = np.flatnonzero(~(energies > -np.inf))
        if wrong.size:
            raise self.expected(places[int(wrong[0])], f"{what} (a finite number >= 0)")
        return energies


def ranges(start: I64, length: I64) -> I64:
    """Return start[i], start[i] + 1, ..., length[i] of them, for every i.

    Examples
    --------
    >>> ranges(np.array([10, 20]), np.array([2, 3])).tolist()
    [10, 11, 20, 21, 22]
    """
    before = np.cumsum(length) - length
    return np.repeat(start - before, length) + np.arange(int(length.sum()))


def _number_or_nan(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        return float("nan")


def _decimal_energy(word: str) -> float:
    """-log of a number by decimal arithmetic; -inf where it is infinite, nan where it is negative."""
    context = decimal.Context(prec=len(word) + 25, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN, traps=[])
    # + 0.0: the logarithm of 1 is 0, never -0.
    return -float(context.ln(context.create_decimal(word))) + 0.0


def probability_words(energies: F64) -> list[str]:
    """Return exp(-E) of each energy as text that `Words.energies` reads back to 1e-13 relative; +inf is 0.

    Numbers beyond the range of a float64 get their true exponent; another program may read them as 0.

    Raises
    ------
    FormatError : a finite energy beyond 1e18 in size.
    """
    with np.errstate(over="ignore", under="ignore", divide="ignore", invalid="ignore"):
        numbers = np.exp(-energies)
        back = -np.log(numbers)
        lost = np.isfinite(energies) & ~(np.abs(back - energies) <= 1e-13 * np.abs(energies))
        lost |= np.isfinite(energies) & (numbers < _SMALLEST_NORMAL)
    words = list(map(repr, numbers.tolist()))
    for place in np.flatnonzero(lost).tolist():
        words[place] = _decimal_word(float(energies[place]))
    return words


def _decimal_word(energy: float) -> str:
    # A number as near to 1 as 1e-20 needs twenty digits before its first different one.
    digits = 20 + max(0, -int(np.floor(np.log10(abs(energy)))))
    context = decimal.Context(prec=digits, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN, traps=[], clamp=0)
    number = context.exp(decimal.Decimal(-energy))
    if number.is_infinite() or number.is_zero() or abs(energy) > 1e18:
        raise FormatError(
            f"an energy of {energy!r} nats cannot be written as a probability. "
            "Write the library's own format (a name ending in .fgz), which keeps every number."
        )
    return str(number)
