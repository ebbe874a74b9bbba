"""A picture of a million pixels labelled by a trained segmenter: seconds of whole calls, from colours to label map.

    python benchmarks/segmentation.py [--size 1024] [--labels 8] [--repeats 5] [--quick] [--check] [--json]

The picture has blocks of 16 x 16 pixels, and normal noise; the segmenter has learned on crops of 48 x 48. Its calls
check the picture, scale features, work out the energies of pixels and of pairs by contrast, declare, compile and solve.
Peers are given these energies, in multiples of 2^-10, and build and solve their graphs: two labels by minimum cuts,
more by expansion to rest. `cut.py` times the solvers alone. SciPy's capacities have 32 bits.
"""

from __future__ import annotations

from collections.abc import Sequence

import cut
import numpy as np
import peers
import problems
import timing
from numpy.typing import NDArray

import factorgraph_ebm as fg

NOISE = 0.4
CROP, BLOCK = 48, 16


def picture(size: int, labels: int, seed: int = 0) -> tuple[problems.F64, NDArray[np.int64]]:
    """A picture (size, size, 3) and its label map."""
    rng = np.random.default_rng(seed)
    colours = rng.uniform(size=(labels, 3))
    block = min(BLOCK, max(2, size // 6))
    coarse = rng.integers(labels, size=(-(-size // block), -(-size // block)))
    truth = np.kron(coarse, np.ones((block, block), np.int64))[:size, :size]
    return colours[truth] + NOISE * rng.normal(size=(size, size, 3)), truth


def trained(image: problems.F64, truth: NDArray[np.int64], labels: int) -> fg.Segmenter:
    """A segmenter that has seen four crops."""
    step = min(CROP, len(truth) // 2)
    corners = [(0, 0), (0, step), (step, 0), (step, step)]
    crops = [np.s_[top : top + step, left : left + step] for top, left in corners]
    segmenter = fg.Segmenter(classes=np.arange(labels), max_iterations=20)
    return segmenter.fit([image[crop] for crop in crops], [truth[crop] for crop in crops])


def problem_of(segmenter: fg.Segmenter, image: problems.F64) -> problems.Problem:
    """What it minimises, in whole multiples of the unit of `cut.py`."""
    _, (sample,), _, _ = segmenter._asked(image, None)
    weights = segmenter.model_.parameters
    energies = (sample["unary"] @ weights["unary"]).reshape(image.shape[0] * image.shape[1], -1)
    penalties = np.concatenate([(numbers @ weights["pair"]).ravel() for _, _, numbers in sample["pairs"]])
    whole = [np.rint(numbers / cut.UNIT) * cut.UNIT for numbers in (energies, penalties)]
    return problems.Problem("Potts", image.shape[:2], whole[0], problems.edges_of(*image.shape[:2]), whole[1])


def rows(size: int, labels: int, repeats: int) -> list[dict[str, object]]:
    image, truth = picture(size, labels)
    segmenter = trained(image, truth, labels)
    problem = problem_of(segmenter, image)
    said = segmenter.predict(image)
    besides: dict[str, object] = {
        "right": timing.round_to(float((said == truth).mean())),
        "energy": timing.round_to(problems.energy(problem, said.ravel()), 9),
    }
    run = timing.each(lambda: segmenter.predict(image), 0.0)
    if labels == 2:
        others = peers.find("maxflow", lambda: timing.each(peers.pymaxflow_cut(problem), 0.0))
        if size <= 512:
            others["scipy"] = timing.each(cut.by_scipy(problem), 0.0)
    else:
        others, reached = cut.by_gco(problem)
        besides |= reached
    works = {f"predict a picture {size} x {size}, {labels} labels": {1: run}}
    return timing.compare(works, "s", 1.0, None, others, repeats=repeats, besides=besides)


def check() -> None:
    """The label map of two labels has the energy of SciPy's minimum cut, up to the rounding of energies."""
    image, truth = picture(24, 2)
    segmenter = trained(image, truth, 2)
    problem = problem_of(segmenter, image)
    said = problems.energy(problem, segmenter.predict(image).ravel())
    terms = len(problem.unary) + len(problem.scopes)
    timing.agree("a predicted label map", abs(said - cut.by_scipy(problem)()), terms * cut.UNIT)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = timing.parser(__doc__)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--labels", type=int, default=8)
    chosen = parser.parse_args(arguments)
    if chosen.check:
        check()
        return
    repeats = timing.repeats_of(chosen)
    size = 16 if chosen.quick else chosen.size
    timing.show(rows(size, 2, repeats), chosen.json)
    timing.show(rows(size, chosen.labels, min(repeats, 2)), chosen.json)


if __name__ == "__main__":
    main()
