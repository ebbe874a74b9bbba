"""What a segmenter is given, read and checked: pictures and superpixel graphs become nodes, with pairs of neighbours.

A picture (H, W) has a node for each pixel, and pairs along its rows and columns, and on request along its diagonals,
which are sqrt(2) long. A superpixel graph has nodes with features, and the pairs that it lists.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from factorgraph_ebm.arrays import F64, I64, Bool
from factorgraph_ebm.errors import EvidenceError, MethodError, did_you_mean

KEYS = ("image", "features", "energies", "edges", "edge_features")
"what the dict of a picture or of a superpixel graph may have"
STEPS: Mapping[str, tuple[int, int]] = {"across": (0, 1), "down": (1, 0), "falling": (1, 1), "rising": (1, -1)}
"direction -> rows and columns from the first pixel of a pair to the second"


class Pairs(NamedTuple):
    """Pairs of neighbours that are of one kind."""

    name: str
    "across, down, falling or rising in a picture, edge in a graph"
    first: I64
    "(m,) number of a node"
    second: I64
    views: tuple[Any, Any]
    "indices that cut the first and the second node of each pair out of an array of nodes"
    shape: tuple[int, ...]
    "of what they cut out, m in all"
    length: float
    features: F64 | None
    "(m, e), where they are given"


class Scene(NamedTuple):
    """Nodes and pairs of one picture or graph."""

    shape: tuple[int, ...]
    "of the array of nodes: (H, W), or (n,)"
    colours: F64 | None
    "(n, C), of which pairs take differences"
    features: F64 | None
    "(n, F)"
    energies: F64 | None
    "(n, K)"
    pairs: tuple[Pairs, ...]

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))


def read_scenes(X: Any, neighbours: int) -> tuple[list[Scene], bool]:  # noqa: N803 - scikit-learn's name
    """All of X as scenes, and whether it was a single one.

    Raises
    ------
    EvidenceError : arrays of the wrong shape, NaN or infinite entries, edges between nodes that are not there.
    MethodError : another number of neighbours than 4 and 8.
    """
    if neighbours not in (4, 8):
        raise MethodError(f"neighbours= is 4 or 8, not {neighbours!r}.")
    single = isinstance(X, (Mapping, tuple)) or (isinstance(X, np.ndarray) and X.dtype != object and X.ndim < 4)
    if not single and (isinstance(X, str) or not isinstance(X, (Sequence, np.ndarray))):
        raise EvidenceError(f"X is a picture or a list of pictures, not {type(X).__name__}.")
    items = [X] if single else list(X)
    return [_scene(item, "X" if single else f"X[{i}]", neighbours) for i, item in enumerate(items)], single


def _scene(item: Any, where: str, neighbours: int) -> Scene:
    if isinstance(item, tuple):
        if not 2 <= len(item) <= 3:
            raise EvidenceError(f"{where}: a superpixel graph is (features, edges), or with edge_features a third.")
        item = dict(zip(("features", "edges", "edge_features"), item))
    if not isinstance(item, Mapping):
        item = {"image": item}
    for key in item:
        if key not in KEYS:
            raise EvidenceError(f'{where} has no use for "{key}".{did_you_mean(key, KEYS)}')
    arrays = {key: _finite(value, f"{where}, {key}") for key, value in item.items() if value is not None}
    if "edges" in arrays:
        return _graph(arrays, where)
    if "edge_features" in arrays:
        raise EvidenceError(f"{where}: edge_features are of edges, and there are none.")
    return _picture(arrays, where, neighbours)


def _picture(arrays: Mapping[str, F64], where: str, neighbours: int) -> Scene:
    found: dict[str, F64] = {}
    shape: tuple[int, ...] | None = None
    for key in ("image", "features", "energies"):
        if key not in arrays:
            continue
        array = arrays[key]
        if not (array.ndim == 3 or (array.ndim == 2 and key == "image")):
            raise EvidenceError(
                f"{where}, {key}: has shape {array.shape}, where a picture is (height, width, channels)"
                f"{', or (height, width)' if key == 'image' else ''}."
            )
        if array.size == 0:
            raise EvidenceError(f"{where}, {key}: has shape {array.shape}, so there is no pixel. Leave it out.")
        if shape is not None and array.shape[:2] != shape:
            raise EvidenceError(f"{where}, {key}: has {array.shape[:2]} pixels, and another array of it {shape}.")
        shape = array.shape[:2]
        found[key] = array.reshape(shape[0] * shape[1], -1)
    if shape is None:
        raise EvidenceError(f"{where}: a picture has an image, features or energies.")
    colours = found.get("image", found.get("features"))
    return Scene(shape, colours, found.get("features", colours), found.get("energies"), grid(shape, neighbours))


def grid(shape: tuple[int, ...], neighbours: int) -> tuple[Pairs, ...]:
    """The pairs of neighbours of a picture (H, W).

    Examples
    --------
    >>> across, down = grid((2, 3), 4)
    >>> across.first.tolist(), down.second.tolist()
    ([0, 1, 3, 4], [3, 4, 5])
    """
    number = np.arange(shape[0] * shape[1]).reshape(shape)
    found = []
    for name, (rows, columns) in list(STEPS.items())[: neighbours // 2]:
        first = np.s_[: shape[0] - rows, max(0, -columns) : shape[1] - max(0, columns)]
        second = np.s_[rows:, max(0, columns) : shape[1] + min(0, columns)]
        one, other = number[first], number[second]
        found.append(
            Pairs(name, one.ravel(), other.ravel(), (first, second), one.shape, float(np.hypot(rows, columns)), None)
        )
    return tuple(found)


def _graph(arrays: Mapping[str, F64], where: str) -> Scene:
    rows = {key: array for key, array in arrays.items() if key in ("image", "features", "energies")}
    if not rows:
        raise EvidenceError(f"{where}: a superpixel graph has features or energies of its nodes.")
    n = next(iter(rows.values())).shape[0] if all(a.ndim == 2 for a in rows.values()) else -1
    for key, array in rows.items():
        if array.ndim != 2 or array.shape[0] != n:
            raise EvidenceError(f"{where}, {key}: has shape {array.shape}, where a graph has one row for each node.")
    edges, features = arrays["edges"], arrays.get("edge_features")
    if edges.size == 0:
        edges = edges.reshape(0, 2)
    if edges.ndim != 2 or edges.shape[1] != 2 or (edges != np.floor(edges)).any():
        raise EvidenceError(f"{where}, edges: pairs of node numbers, shape (m, 2), are needed; this has {edges.shape}.")
    bad = (edges < 0) | (edges >= n)
    if bad.any():
        row = int(np.argmax(bad.any(axis=1)))
        raise EvidenceError(f"{where}, edges[{row}]: is {edges[row].astype(int).tolist()}, and nodes are 0 to {n - 1}.")
    loop = edges[:, 0] == edges[:, 1]
    if loop.any():
        raise EvidenceError(f"{where}, edges[{int(np.argmax(loop))}]: joins a node to itself. Leave it out.")
    if features is not None and (features.ndim != 2 or len(features) != len(edges)):
        raise EvidenceError(
            f"{where}, edge_features: has shape {features.shape}, where there are {len(edges)} edges, a row for each."
        )
    first, second = edges.astype(np.int64).T
    pairs = Pairs("edge", first, second, (first, second), first.shape, 1.0, features)
    colours = rows.get("image", rows.get("features"))
    return Scene((n,), colours, rows.get("features", colours), rows.get("energies"), (pairs,))


def _finite(value: Any, where: str) -> F64:
    """A float64 array; bytes (uint8) of an image become 0 to 1."""
    try:
        array = np.asarray(value)
        numbers: F64 = array.astype(np.float64)
    except (TypeError, ValueError):
        raise EvidenceError(f"{where}: is no array of numbers.") from None
    if array.dtype == np.uint8 and (where.endswith("image")):
        numbers = numbers / 255.0
    if not np.isfinite(numbers).all():
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(numbers))[0])
        raise EvidenceError(f"{where}{list(place)}: is {numbers[place]}. Fill in a number, or leave the node out.")
    return numbers


def restricted(scene: Scene, kept: Bool) -> Scene:
    """A scene without the nodes that are not kept, (n,), and their pairs."""
    if kept.all():
        return scene
    number = np.cumsum(kept) - 1
    left = []
    for pairs in scene.pairs:
        both = kept[pairs.first] & kept[pairs.second]
        first, second = number[pairs.first[both]], number[pairs.second[both]]
        features = None if pairs.features is None else pairs.features[both]
        left.append(Pairs(pairs.name, first, second, (first, second), first.shape, pairs.length, features))
    colours, features, energies = (
        None if array is None else array[kept] for array in (scene.colours, scene.features, scene.energies)
    )
    return Scene((int(kept.sum()),), colours, features, energies, tuple(left))


def read_labels(y: Any, scenes: Sequence[Scene], single: bool, what: str = "y") -> list[npt.NDArray[Any]]:
    """Label maps, flat, one for each scene.

    Raises
    ------
    EvidenceError : another number of maps, or a map of another shape than its picture.
    """
    if not single and (isinstance(y, str) or not isinstance(y, (Sequence, np.ndarray))):
        raise EvidenceError(f"{what} is a list of label maps, one for each picture, not {type(y).__name__}.")
    maps = [y] if single else list(y)
    if len(maps) != len(scenes):
        raise EvidenceError(f"there are {len(scenes)} pictures and {len(maps)} label maps in {what}: each has its own.")
    found = []
    for i, (labels, scene) in enumerate(zip(maps, scenes)):
        array = np.asarray(labels)
        where = what if single else f"{what}[{i}]"
        if array.shape != scene.shape:
            several = single and array.ndim == len(scene.shape) + 1
            hint = " Several pictures are a list, or an array (N, height, width, channels)." if several else ""
            raise EvidenceError(f"{where}: has shape {array.shape}, and its picture {scene.shape}.{hint}")
        if array.dtype.kind == "f":
            whole = np.isfinite(array) & (array == np.floor(array))
            if not whole.all():
                raise EvidenceError(f"{where}: labels are whole numbers or words, and {array[~whole][0]} is neither.")
            array = array.astype(np.int64)
        if array.dtype.kind not in "biuUS":
            raise EvidenceError(f"{where}: labels are whole numbers or words, not {array.dtype}.")
        found.append(array.ravel())
    return found


def numbered(
    labels: Sequence[npt.NDArray[Any]], classes: npt.NDArray[Any], ignore: Any, what: str = "y"
) -> list[I64]:
    """Numbers of classes for labels, and -1 where they are to be ignored.

    Raises
    ------
    EvidenceError : a label that is no class.
    """
    found = []
    for i, array in enumerate(labels):
        place = np.searchsorted(classes, array)
        place = np.minimum(place, len(classes) - 1)
        unknown = is_ignored(array, ignore)
        wrong = (classes[place] != array) & ~unknown
        if wrong.any():
            listed = ", ".join(str(c) for c in classes[:10]) + (", ..." if len(classes) > 10 else "")
            raise EvidenceError(
                f"{what}[{i}]: label {array[wrong][0]!s} is none of the classes {listed}; what stands for no label is "
                f"ignore={ignore!r}."
            )
        found.append(np.where(unknown, -1, place).astype(np.int64))
    return found


def is_ignored(labels: npt.NDArray[Any], ignore: Any) -> Bool:
    """Where a label stands for none."""
    if ignore is None:
        return np.zeros(labels.shape, bool)
    if (labels.dtype.kind in "US") != isinstance(ignore, str):
        return np.zeros(labels.shape, bool)
    mask: Bool = np.asarray(labels == ignore)
    return mask
