"""Picture files: PNG, JPEG, PGM and PPM, read into arrays and written whole or not at all, by Pillow (extra `plot`)."""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from factorgraph_ebm.errors import FormatError
from factorgraph_ebm.formats.text import write_bytes

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".pgm": "PPM", ".ppm": "PPM"}
PathLike = str | os.PathLike[str]
Bytes = npt.NDArray[np.uint8]


def read_picture(path: PathLike) -> Bytes:
    """Read a picture as grey values, (H, W), or as red, green and blue, (H, W, 3), 0 to 255.

    What is transparent is read by its colour; 16 bits are scaled to 8.

    Raises
    ------
    ModuleNotFoundError : Pillow is missing.
    FormatError : no PNG, JPEG, PGM or PPM picture, or a broken or far too large one.
    OSError : the file cannot be read.

    Examples
    --------
    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "grey.pgm")
    >>> write_picture(path, [[0, 90], [180, 255]])
    >>> read_picture(path).tolist()
    [[0, 90], [180, 255]]
    """
    opened = _open(path)
    if _is_deep(opened):
        return _eight_bits(opened)
    plain = "L" if opened.mode in ("1", "L", "LA") or _is_grey(opened) else "RGB"
    return np.asarray(opened.convert(plain), dtype=np.uint8)


def read_strokes(path: PathLike) -> tuple[Bytes, npt.NDArray[np.bool_]]:
    """Read brush strokes: colours (H, W, 3), and where there is a stroke (H, W).

    A pixel bears a stroke unless it is transparent, or black in a picture that knows no transparency.

    Raises
    ------
    ModuleNotFoundError, FormatError, OSError : as in `read_picture`.
    """
    opened = _open(path)
    if _is_deep(opened):
        grey = _eight_bits(opened)
        return np.repeat(grey[..., None], 3, axis=-1), grey > 0
    array = np.asarray(opened.convert("RGBA"), dtype=np.uint8)
    clear = "A" in opened.getbands() or "transparency" in opened.info
    painted: npt.NDArray[np.bool_] = array[..., 3] >= 128 if clear else array[..., :3].max(axis=-1) > 0
    return array[..., :3], painted


def write_picture(path: PathLike, picture: npt.ArrayLike) -> None:
    """Write grey values (H, W) or colours (H, W, 3), 0 to 255; the name says the format.

    The file is written under a temporary name, then renamed.

    Raises
    ------
    ModuleNotFoundError : Pillow is missing.
    FormatError : a name that ends otherwise, a colour picture in a .pgm file, or an array of another shape.
    OSError : the file cannot be written.
    """
    values = np.asarray(picture)
    if values.ndim != 2 and not (values.ndim == 3 and values.shape[2] == 3) or 0 in values.shape:
        raise FormatError(f"{path}: shape {values.shape} is no picture. Write (H, W) or (H, W, 3).")
    if values.ndim == 3 and Path(path).suffix.lower() == ".pgm":
        raise FormatError(f"{path}: a .pgm file is grey. Write to a .ppm or a .png file.")
    _save(path, _pillow().fromarray(np.rint(values.astype(np.float64)).clip(0, 255).astype(np.uint8)))


def write_labels(path: PathLike, labels: npt.ArrayLike, colours: npt.ArrayLike) -> None:
    """Write labels (H, W) in their colours (K, 3).

    A .png file keeps the labels themselves, as numbers of a palette, where there are at most 256.

    Raises
    ------
    ModuleNotFoundError, FormatError, OSError : as in `write_picture`.

    Examples
    --------
    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "labels.png")
    >>> write_labels(path, [[0, 1], [1, 1]], [[255, 0, 0], [0, 0, 255]])
    >>> read_picture(path)[0].tolist()
    [[255, 0, 0], [0, 0, 255]]
    """
    numbers = np.asarray(labels)
    palette = np.rint(np.asarray(colours, dtype=np.float64)).clip(0, 255).astype(np.uint8)
    if Path(path).suffix.lower() != ".png" or len(palette) > 256:
        write_picture(path, palette[numbers])
        return
    indexed = _pillow().fromarray(numbers.astype(np.uint8))
    indexed.putpalette(palette.reshape(-1).tolist())
    _save(path, indexed)


def check_target(path: PathLike) -> None:
    """Raise where a picture could not be written there, before anybody waits for one.

    Raises
    ------
    ModuleNotFoundError : Pillow is missing.
    FormatError : a name that ends otherwise.
    OSError : there is no such folder.
    """
    _pillow()
    _format_of(path)
    folder = Path(path).parent
    if not folder.is_dir():
        raise FileNotFoundError(f"{path}: there is no folder {folder}")


def _pillow() -> Any:
    try:
        from PIL import Image  # an extra, `plot`: matplotlib brings it
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "PIL":
            raise
        message = "pictures are read and written by Pillow: pip install 'factorgraph-ebm[plot]'"
        raise ModuleNotFoundError(message, name="PIL") from None
    return Image


def _open(path: PathLike) -> Any:
    """A picture with its pixels; its own size guard is an error here, not a warning."""
    pillow = _pillow()
    with open(path, "rb") as file:
        data = file.read()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pillow.DecompressionBombWarning)
            opened = pillow.open(io.BytesIO(data), formats=sorted(set(FORMATS.values())))
            opened.load()
    except Exception as error:  # a broken file raises nearly anything
        known = isinstance(error, pillow.UnidentifiedImageError)
        why = "neither PNG, JPEG, PGM nor PPM" if known else " ".join(str(error).split())
        raise FormatError(f"{path}: no picture that can be read: {why}.") from None
    if 0 in opened.size:
        raise FormatError(f"{path}: no picture that can be read: it has no pixels.")
    return opened


def _is_deep(opened: Any) -> bool:
    """Whether grey values have 16 bits, or are floats."""
    return str(opened.mode).startswith(("I", "F"))


def _eight_bits(opened: Any) -> Bytes:
    """Grey values of 16 bits as 8, however dark all of them are; floats as they are, unless they go beyond 255."""
    grey = np.asarray(opened, dtype=np.float64)
    most = 255.0 if opened.mode == "F" and grey.max(initial=0.0) <= 255.0 else 65535.0
    return np.rint(grey * (255.0 / most)).clip(0, 255).astype(np.uint8)


def _is_grey(opened: Any) -> bool:
    """Whether a palette holds grey values only."""
    if opened.mode != "P":
        return False
    red, green, blue = np.moveaxis(np.asarray(opened.convert("RGB")), -1, 0)
    return bool((red == green).all() and (green == blue).all())


def _format_of(path: PathLike) -> str:
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise FormatError(f"{path}: a picture's name ends in {', '.join(FORMATS)}, not {suffix!r}.")
    return FORMATS[suffix]


def _save(path: PathLike, image: Any) -> None:
    name = _format_of(path)
    packed = io.BytesIO()
    image.save(packed, format=name, **({"quality": 95} if name == "JPEG" else {}))
    write_bytes(path, packed.getvalue())
