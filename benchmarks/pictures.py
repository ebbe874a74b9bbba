"""Energies of pictures against published and recomputed ones: rows of docs/pictures.md.

    python benchmarks/pictures.py [FOLDER] [--only stereo ...] [--json]

The folder is the `mrf` of the data; its README says where the references come from. Seconds are those of one call,
which finds structure and answer; kernels are compiled before. "both" is ten sweeps of belief propagation, and expansion
from their answer. Energies are in the units of the references, as are lower bounds.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

import factorgraph_ebm as fg
from factorgraph_ebm.pictures import neighbours, read_picture, stereo_graph

DATA = pathlib.Path(__file__).resolve().parents[2] / "shared" / "data" / "mrf"
Instance = tuple[str, fg.FactorGraph, float, str, Sequence[str]]
"name, graph, units of the reference in one nat of the graph, reference energies, methods that serve"

HOUSE_SECONDS = 60.0
"for the 256 levels of the house"


def ask(graph: fg.FactorGraph, method: str, limit: float | None = None) -> tuple[Any, float]:
    """A result, and the seconds it took."""
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fg.ConvergenceWarning)
        if method == "both":
            start = fg.minimize(graph, method="bp", max_iterations=10)
            best = fg.minimize(graph, method="expansion", start=start)
        else:
            best = fg.minimize(graph, method=method, time_limit=limit)
    return best, time.perf_counter() - began


def grid(unary: Any, pair: Callable[..., Any], numbers: Sequence[Any]) -> fg.FactorGraph:
    """A graph of unary energies (H, W, K) and a structure for pairs down and pairs right."""
    y = fg.output("y", shape=unary.shape[:2], n_states=unary.shape[2])
    pairs = [pair(scope, number, name=name) for (name, scope), number in zip(neighbours(y), numbers)]
    return fg.FactorGraph([fg.Table([y], energies=unary), *pairs])


def binary(folder: pathlib.Path) -> Iterator[Instance]:
    for path in sorted((folder / "binary").glob("*.npz")):
        stored = np.load(path)
        unary = np.stack([stored["U0"], stored["U1"]], axis=-1).astype(float)
        graph = grid(unary, fg.Potts, [stored["w_v"][:-1].astype(float), stored["w_h"][:, :-1].astype(float)])
        yield f"binary/{path.stem}", graph, 1.0, f"{int(stored['energy']):,} (exact)", ("cut", "expansion", "bp")


def stereo(folder: pathlib.Path) -> Iterator[Instance]:
    left, right = (read_picture(folder / "stereo" / f"tsukuba-im{side}.png") for side in "LR")
    methods = ("expansion", "bp", "both")
    plain = stereo_graph(left, right, cost="absolute", factor=1.0)
    told = json.loads((folder / "stereo" / "tsukuba_reference.json").read_text())
    published = told["default_parameter_energy"]["energies_of_published_labelings"]
    names = ("TRW-S", "Expansion", "Swap", "BP-M", "BP-S", "ICM")
    said = ", ".join(f"{name} {published[name]:,}" for name in names)
    yield "stereo/tsukuba, absolute differences", plain, 3.0, said, methods
    standard = stereo_graph(left, right)
    said = f"expansion {told['alpha_expansion_run_here_energy']:,}, best known 369,218 (from memory)"
    yield "stereo/tsukuba, benchmark", standard, 3.0, said, methods


def classes(folder: pathlib.Path) -> Iterator[Instance]:
    stored = np.load(folder / "msrc21" / "1_9_s.npz")
    told = json.loads((folder / "msrc21" / "1_9_s_reference.json").read_text())
    unary = stored["table_nll100"].astype(float)[stored["ids"]]
    graph = grid(unary, fg.Potts, [float(stored["lam"])] * 2)
    said = f"expansion {told['alpha_expansion_run_here_energy']:,}"
    yield "msrc21/1_9_s", graph, 1.0, said, ("expansion", "bp", "both")


def house(folder: pathlib.Path) -> Iterator[Instance]:
    told = json.loads((folder / "denoise" / "house_reference.json").read_text())
    seen = read_picture(folder / "denoise" / "house-input.png").astype(float)
    mask = read_picture(folder / "denoise" / "house-mask.png") > 0
    unary = np.where(mask[..., None], (np.arange(256) - seen[..., None]) ** 2, 0.0)

    def squares(scope: Any, weight: float, name: str) -> fg.TruncatedQuadratic:
        return fg.TruncatedQuadratic(scope, weight=weight, limit=np.inf, name=name)

    low, high = told["continuous_lower_bound"], told["integer_upper_bound_rounded"]
    said = f"between {low:,.0f} and {high:,}"
    yield "denoise/house, 256 levels", grid(unary, squares, [float(told["lam"])] * 2), 1.0, said, ("bp",)


KINDS = {"binary": binary, "stereo": stereo, "classes": classes, "house": house}


def rows_of(instance: Instance) -> Iterator[dict[str, Any]]:
    name, graph, unit, said, methods = instance
    for method in methods:
        best, seconds = ask(graph, method, HOUSE_SECONDS if name.startswith("denoise") else None)
        bound = best.lower_bound
        yield {
            "instance": name, "references": said, "method": method, "energy": round(unit * best.energy),
            "lower_bound": None if bound is None else round(unit * bound), "status": best.status.value,
            "iterations": int(best.iterations), "seconds": round(seconds, 2),
        }  # fmt: skip


def compile_kernels() -> None:
    rng = np.random.default_rng(0)
    small = stereo_graph(*rng.integers(0, 256, (2, 6, 8, 3)), n_disparities=4)
    for method in ("expansion", "bp"):
        ask(small, method)
    for pair in (fg.Potts, lambda s, w, name: fg.TruncatedQuadratic(s, weight=w, limit=np.inf, name=name)):
        for k in (2, 4):
            ask(grid(rng.normal(size=(6, 8, k)), pair, [1.0, 1.0]), "cut" if k == 2 else "bp")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", nargs="?", type=pathlib.Path, default=DATA)
    parser.add_argument("--only", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--json", action="store_true", help="one line of JSON for each row")
    chosen = parser.parse_args(arguments)
    if not chosen.folder.is_dir():
        parser.error(f"there is no folder {chosen.folder}")
    compile_kernels()
    headed = False
    for name in chosen.only:
        for instance in KINDS[name](chosen.folder):
            for row in rows_of(instance):
                if chosen.json:
                    print(json.dumps(row), flush=True)
                    continue
                if not headed:
                    print(f"| {' | '.join(row)} |\n|{'---|' * len(row)}")
                    headed = True
                cells = (f"{v:,}" if isinstance(v, int) else "unknown" if v is None else str(v) for v in row.values())
                print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
