"""An archive: a zip file of one JSON header and named numpy arrays, without pickle, in deterministic bytes.

`np.load(path)["a0"]` reads an array with nothing but numpy. Nothing is allocated before its size is known to fit.
"""

import io
import json
import math
import zipfile
from typing import Any

import numpy as np
import numpy.typing as npt

from factorgraph_ebm.errors import FormatError
from factorgraph_ebm.formats.text import LIMIT_BYTES, PathLike, bytes_in_words, read_bytes, write_bytes

HEADER = "header.json"
# The zip format cannot say "no date": a fixed one makes equal content equal bytes.
_DATE = (1980, 1, 1, 0, 0, 0)

Array = npt.NDArray[Any]


class ArchiveWriter:
    """Collects arrays, then writes them with their header in one go."""

    def __init__(self) -> None:
        self.arrays: list[Array] = []

    def add(self, array: npt.ArrayLike) -> str:
        """Take an array of bools or numbers and return its name in the archive."""
        stored = np.asarray(array)
        # Files are little-endian on every machine.
        self.arrays.append(stored.astype(stored.dtype.newbyteorder("<"), copy=False))
        return f"a{len(self.arrays) - 1}"

    def write(self, path: PathLike, header: dict[str, Any], *, packed: bool = True) -> None:
        """Write everything under a temporary name, then rename. `packed`: smaller, and many times slower."""
        file = io.BytesIO()
        how = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
        with zipfile.ZipFile(file, "w", how) as archive:
            text = json.dumps(header, indent=1, allow_nan=False)
            archive.writestr(_info(HEADER), text.encode(), how)
            for place, array in enumerate(self.arrays):
                entry = io.BytesIO()
                np.lib.format.write_array(entry, array, version=(1, 0), allow_pickle=False)
                archive.writestr(_info(f"a{place}.npy"), entry.getbuffer(), how)
        write_bytes(path, file.getvalue())


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _DATE)
    info.create_system = 3
    info.external_attr = 0o644 << 16
    return info


class ArchiveReader:
    """Reads the header and, on demand, the arrays of an archive.

    Raises
    ------
    FormatError : not such an archive, broken, or larger than LIMIT_BYTES when unpacked.
    """

    def __init__(self, path: PathLike) -> None:
        self.path = path
        data = read_bytes(path)
        try:
            self.archive = zipfile.ZipFile(io.BytesIO(data))
        except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise FormatError(f"{path}: not an archive of this library: {error}.") from None
        unpacked = sum(info.file_size for info in self.archive.infolist())
        if unpacked > LIMIT_BYTES:
            raise FormatError(
                f"{path}: the archive unpacks to {bytes_in_words(unpacked)}; "
                f"the limit is {bytes_in_words(LIMIT_BYTES)}."
            )

    def header(self) -> Any:
        """Return the header as Python objects."""
        try:
            return json.loads(self._bytes(HEADER))
        except json.JSONDecodeError as error:
            raise FormatError(f"{self.path}, {HEADER}, line {error.lineno}: {error.msg}.") from None
        except (UnicodeDecodeError, RecursionError) as error:
            raise FormatError(f"{self.path}, {HEADER}: {error}.") from None

    def header_of(self, kind: str, version: int, what: str) -> dict[str, Any]:
        """Return the header of a file of a kind.

        Raises
        ------
        FormatError : it is of another kind or version; `what` is how its messages call the kind.
        """
        header = self.header()
        if not isinstance(header, dict) or header.get("kind") != kind:
            raise FormatError(f"{self.path}: not a saved {what}.")
        found = header.get("version")
        if found != version:
            raise FormatError(f"{self.path}: a {what} of version {found!r}; this library reads {version}.")
        return header

    def array(self, name: str) -> Array:
        """Return a stored array, read-only."""
        data = self._bytes(f"{name}.npy")
        where = f"{self.path}, {name}.npy"
        stream = io.BytesIO(data)
        try:
            version = np.lib.format.read_magic(stream)
            if version != (1, 0):
                raise ValueError(f"version {version} of the npy format")
            shape, by_column, dtype = np.lib.format.read_array_header_1_0(stream)
        except ValueError as error:
            raise FormatError(f"{where}: not a plain array: {error}.") from None
        if dtype.hasobject or dtype.kind not in "biuf":
            raise FormatError(f"{where}: holds {dtype}, not numbers.")
        needed, present = math.prod(shape) * dtype.itemsize, len(data) - stream.tell()
        if min(shape, default=0) < 0 or needed != present:
            raise FormatError(
                f"{where}: says shape {shape}, {bytes_in_words(needed)}, but holds {bytes_in_words(present)}."
            )
        flat = np.frombuffer(data, dtype=dtype, offset=stream.tell())
        array = flat.reshape(shape, order="F" if by_column else "C")
        array = array.astype(dtype.newbyteorder("="), copy=False)
        array.flags.writeable = False
        return array

    def _bytes(self, entry: str) -> bytes:
        try:
            return self.archive.read(entry)
        except KeyError:
            raise FormatError(f'{self.path}: the archive has no entry "{entry}".') from None
        except Exception as error:
            # zlib.error, BadZipFile, RuntimeError (encrypted), NotImplementedError (other compression), EOFError.
            raise FormatError(f'{self.path}: entry "{entry}" cannot be unpacked: {error}.') from None
