"""Learning on real data: letters in words, snakes, digits with a latent sub-class, and a small Boltzmann machine.

    pip install scikit-learn
    python benchmarks/real_data.py [FOLDER] [--only letters ...] [--quick] [--json]

FOLDER holds `letters/letters.npz` (Taskar's split of Kassel's handwritten words: bits of 16 x 8 pixels, letter, and
fold of each word) and `snakes/snakes.npz` (images and labels of Nowozin's snakes); a table whose file is not there is
left out. Digits are scikit-learn's; the Boltzmann machine learns bars and stripes, and is measured by enumeration.

Each row has the share of what it got right on data it has not seen, seconds of `fit` by the clock and of the processor
(on an idle machine nearly the same), and the number of updates. One thread.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import pathlib
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import scipy.sparse
import sklearn.datasets
from numpy.typing import NDArray

import factorgraph_ebm as fg

Array = NDArray[Any]
Row = dict[str, Any]
DATA = pathlib.Path(__file__).resolve().parents[2] / "shared" / "data"
N_LETTERS, HEIGHT, WIDTH = 26, 16, 8
HAMMING = fg.losses.hinge(margin="hamming")


class Set(NamedTuple):
    """Samples and their right answers."""

    samples: list[dict[str, Any]]
    targets: list[dict[str, Any]]

    def some(self, chosen: Sequence[int]) -> Set:
        return Set([self.samples[i] for i in chosen], [self.targets[i] for i in chosen])


def fitted(work: str, model: fg.EnergyModel, train: Set, test: Set, **options: Any) -> tuple[Row, fg.EnergyModel]:
    """Fit, and say how well that went on `test`; an update first, so that kernels are there."""
    few = train.some(range(min(700, len(train.samples))))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        model.fit(few.samples, few.targets, epochs=1)
    began, busy = time.perf_counter(), time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # convergence and collapse are what the table shows
        model.fit(train.samples, train.targets, **options)
    told: Row = {
        "work": work, "samples": len(train.samples), "updates": len(model.history),
        "seconds": round(time.perf_counter() - began, 2), "processor": round(time.process_time() - busy, 2),
    }  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fg.ConvergenceWarning)
        told["right"] = round(model.score(test.samples, test.targets), 4)
    return told, model


# Letters: chains of 26 states.


def letters(folder: pathlib.Path, pairs: bool = False) -> tuple[Set, Array]:
    """Words as rows of pixels and a bias, and the fold of each; `pairs`: also which neighbours are both on."""
    file = np.load(folder / "letters" / "letters.npz")
    pixels = np.unpackbits(file["X_packed"], axis=1)
    x = np.hstack([pixels, np.ones((len(pixels), 1), np.uint8)])
    features: Any = x.astype(float)
    if pairs:
        features = scipy.sparse.csr_matrix(np.hstack([x, _both_on(pixels.reshape(-1, HEIGHT, WIDTH))]), dtype=float)
    start, length, y = file["word_start"], file["word_len"], file["y"].astype(np.int64)
    cuts = [slice(a, a + n) for a, n in zip(start.tolist(), length.tolist())]
    return Set([{"x": features[cut]} for cut in cuts], [{"y": y[cut]} for cut in cuts]), file["fold"]


def _both_on(image: Array) -> Array:
    """Products of all pixels and those one or two steps away, (n, pairs)."""
    steps = [(0, 1), (1, 0), (1, 1), (1, -1), (0, 2), (2, 0), (2, 2), (2, -2), (1, 2), (2, 1), (1, -2), (2, -1)]
    products = []
    for down, right in steps:
        a = image[:, : HEIGHT - down, max(0, -right) : WIDTH - max(0, right)]
        b = image[:, down:, max(0, right) : WIDTH + min(0, right)]
        products.append((a & b).reshape(len(image), -1))
    return np.hstack(products)


def chain(n_features: int, coupled: bool = True) -> Callable[[Any], fg.FactorGraph]:
    """A word: each letter given its features, and its neighbours."""
    emission = fg.Parameter("emission", shape=(n_features, N_LETTERS))
    transition = fg.Parameter("transition", shape=(N_LETTERS, N_LETTERS))

    def architecture(sample: Any) -> fg.FactorGraph:
        y = fg.output("y", shape=sample["x"].shape[0], n_states=N_LETTERS)
        factors = [fg.Table([y], energies=fg.Linear(sample["x"], emission))]
        if coupled:
            factors.append(fg.Table([y[:-1], y[1:]], energies=transition))
        return fg.FactorGraph(factors)

    return architecture


def losses_on_letters(folder: pathlib.Path, quick: bool) -> Iterator[Row]:
    """One fold to train, nine to test: a row for each loss."""
    words, fold = letters(folder)
    train, test = words.some(np.flatnonzero(fold == 0)), words.some(np.flatnonzero(fold != 0))
    if quick:
        train, test = train.some(range(60)), test.some(range(100))
    l2, adagrad = fg.l2(1.0 / len(train.samples)), fg.optimizers.adagrad(0.15, batch_size=128)
    epochs = 2 if quick else 20
    n = HEIGHT * WIDTH + 1

    def row(loss: str, alone: bool = False, **choices: Any) -> Row:
        limit = choices.pop("epochs", None)
        work = choices.pop("work")
        model = fg.EnergyModel(chain(n, not alone), loss=loss, **choices)
        return fitted(f"letters, 1 fold, {work}", model, train, test, epochs=limit)[0]

    yield row("likelihood", True, regularizer=l2, work="likelihood, each letter alone", epochs=2 if quick else None)
    yield row("likelihood", regularizer=l2, work="likelihood", epochs=2 if quick else None)
    yield row(HAMMING, regularizer=l2, optimizer=adagrad, work="hinge, Hamming", epochs=2 if quick else 15)
    yield row(HAMMING, regularizer=l2, work="hinge, Hamming, by bcfw", epochs=2 if quick else None)
    yield row("hinge", regularizer=l2, optimizer=adagrad, work="hinge, margin 1", epochs=2 if quick else 15)
    yield row("softmax_margin", regularizer=l2, work="softmax margin", epochs=2 if quick else None)
    yield row("pseudo_likelihood", regularizer=l2, work="pseudo-likelihood", epochs=2 if quick else None)
    yield row("piecewise", regularizer=l2, work="piecewise", epochs=2 if quick else None)
    yield row(
        "perceptron", optimizer=fg.optimizers.sgd(0.1, batch_size=64, average=True), work="perceptron, averaged",
        epochs=epochs,
    )  # fmt: skip
    yield row("energy", regularizer=l2, work="energy", epochs=2 if quick else None)


def many_letters(folder: pathlib.Path, quick: bool) -> Iterator[Row]:
    """Nine folds to train, one to test: pixels, and pairs of pixels."""
    for pairs in (False, True):
        words, fold = letters(folder, pairs)
        train, test = words.some(np.flatnonzero(fold != 0)), words.some(np.flatnonzero(fold == 0))
        if quick:
            train, test = train.some(range(60)), test.some(range(60))
        n, l2 = words.samples[0]["x"].shape[1], fg.l2((4.0 if pairs else 1.0) / len(train.samples))
        model = fg.EnergyModel(chain(n), loss="likelihood", regularizer=l2)
        work = f"letters, 9 folds, likelihood, {'pairs of pixels too' if pairs else 'pixels'}"
        yield fitted(work, model, train, test, epochs=2 if quick else 100)[0]


# Snakes: a picture says by colours which way a snake goes on; the answer is how far along it each pixel is.

LENGTH, COLOURS = 11, 5
CODE = np.array([-1, 0, 1, 2, 3, -1, 4])
"number of a colour by its bits red, green, blue; 3 is the background"


def snakes(folder: pathlib.Path, kind: str) -> Set:
    """Pixels by the colours of their 3 x 3 neighbourhood; edges by those of both ends."""
    file = np.load(folder / "snakes" / "snakes.npz")
    found = Set([], [])
    for name in sorted(name for name in file.files if name.startswith(f"X_{kind}_")):
        colour = CODE[(file[name] // 255) @ np.array([1, 2, 4])]
        height, width = colour.shape
        padded = np.pad(colour, 1, constant_values=3)
        around = [padded[a : a + height, b : b + width] for a in range(3) for b in range(3)]
        seen = np.eye(COLOURS)[np.stack(around, axis=-1)].reshape(height, width, -1)
        x = np.concatenate([seen, np.ones((height, width, 1))], axis=-1)
        across, down = (x[:, :-1], seen[:, 1:]), (x[:-1], seen[1:])
        found.samples.append({"x": x, "across": np.concatenate(across, -1), "down": np.concatenate(down, -1)})
        found.targets.append({"y": file[name.replace("X", "Y", 1)].astype(np.int64)})
    return found


def snake_grid(conditional: bool) -> Callable[[Any], fg.FactorGraph]:
    """A grid whose tables of neighbours are the same everywhere, or linear in the features of each edge."""
    n = 9 * COLOURS
    unary = fg.Parameter("unary", shape=(n + 1, LENGTH))
    across = fg.Parameter("across", shape=(2 * n + 1 if conditional else 1, LENGTH, LENGTH))
    down = fg.Parameter("down", shape=(2 * n + 1 if conditional else 1, LENGTH, LENGTH))

    def architecture(sample: Any) -> fg.FactorGraph:
        y = fg.output("y", shape=sample["x"].shape[:2], n_states=LENGTH)
        return fg.FactorGraph([
            fg.Table([y], energies=fg.Linear(sample["x"], unary)),
            fg.Table([y[:, :-1], y[:, 1:]], energies=fg.Linear(sample["across"], across) if conditional else across[0]),
            fg.Table([y[:-1], y[1:]], energies=fg.Linear(sample["down"], down) if conditional else down[0]),
        ])  # fmt: skip

    return architecture


def snake_rows(folder: pathlib.Path, quick: bool) -> Iterator[Row]:
    """Loopy grids by belief propagation."""
    train, test = snakes(folder, "train"), snakes(folder, "test")
    if quick:
        train, test = train.some(range(10)), test.some(range(10))
    passing = {"method": "bp", "damping": 0.3}
    for conditional in (False, True):
        where = "tables by the features of both ends" if conditional else "one table"
        model = fg.EnergyModel(
            snake_grid(conditional), loss="likelihood", regularizer=fg.l2(SNAKE_L2), inference=passing
        )
        yield fitted(f"snakes, likelihood, {where}", model, train, test, epochs=2 if quick else 40)[0]
    model = fg.EnergyModel(
        snake_grid(True), loss=HAMMING, regularizer=fg.l2(1e-3), inference=passing,
        optimizer=fg.optimizers.adagrad(0.1, batch_size=20),
    )  # fmt: skip
    yield fitted(f"snakes, hinge, {where}", model, train, test, epochs=2 if quick else 20)[0]


SNAKE_L2 = 4e-3


# Digits: even or odd, with a latent kind of each.


def digits() -> tuple[Set, Set]:
    """1,200 of scikit-learn's to train, 597 to test."""
    x, digit = sklearn.datasets.load_digits(return_X_y=True)
    x = np.hstack([x / 16.0, np.ones((len(x), 1))])
    every = Set([{"x": row} for row in x], [{"y": ("even", "odd")[d % 2]} for d in digit])
    order = np.random.default_rng(0).permutation(len(x))
    return every.some(order[:1200]), every.some(order[1200:])


def kinds(n_kinds: int, seed: int = 0) -> Callable[[Any], fg.FactorGraph]:
    """Even or odd, each of so many latent kinds, and the energies of all linear in the pixels."""
    start = np.random.default_rng(seed).normal(scale=2.0, size=(65, n_kinds, 2))
    weights = fg.Parameter("weights", shape=start.shape, initial=start)

    def architecture(sample: Any) -> fg.FactorGraph:
        y, z = fg.output("y", states=["even", "odd"]), fg.latent("z", n_states=n_kinds)
        return fg.FactorGraph([fg.Table([z, y], energies=fg.Linear(sample["x"], weights))])

    return architecture


def parity_model(n_kinds: int, seed: int = 0) -> fg.EnergyModel:
    return fg.EnergyModel(
        kinds(n_kinds, seed), loss="likelihood", latent="marginalize", regularizer=fg.l2(3e-5)
    )  # fmt: skip


def digit_rows(folder: pathlib.Path, quick: bool) -> Iterator[Row]:
    """Of five starts the one of least objective, since with latent kinds there are many minima."""
    train, test = digits()
    if quick:
        train, test = train.some(range(60)), test.some(range(60))
    for n_kinds in (1, 5, 10):
        work = f"digits, even or odd, {n_kinds} latent kind{'s' * (n_kinds > 1)} of each, best of 5 starts"
        tried = [
            fitted(work, parity_model(n_kinds, seed), train, test, epochs=2 if quick else 150)
            for seed in range(1 if quick else 5)
        ]
        best = min(tried, key=lambda each: each[1].history[-1]["objective"])[0]
        for name in ("seconds", "processor"):
            best[name] = round(sum(row[name] for row, _ in tried), 2)
        yield best


# A restricted Boltzmann machine.


def bars_and_stripes() -> Array:
    """The 14 pictures of 3 x 3 pixels whose rows, or columns, are alike."""
    rows = [np.tile(bits, (3, 1)) for bits in itertools.product([0, 1], repeat=3)]
    return np.unique([picture.ravel() for each in rows for picture in (each, each.T)], axis=0)


def machine(n_visible: int, n_hidden: int, seed: int = 0) -> fg.FactorGraph:
    """E(v, h) = v W h + b v + c h."""
    start = np.random.default_rng(seed).normal(scale=0.3, size=(n_visible, n_hidden))
    weights = fg.Parameter("W", shape=start.shape, initial=start)
    b, c = fg.Parameter("b", shape=n_visible, initial=0.0), fg.Parameter("c", shape=n_hidden, initial=0.0)
    v, h = fg.output("v", shape=n_visible, n_states=2), fg.latent("h", shape=n_hidden, n_states=2)
    return fg.FactorGraph([
        fg.Product([v[:, None], h[None, :]], weight=weights), fg.Product([v], weight=b), fg.Product([h], weight=c),
    ])  # fmt: skip


def surprise(parameters: dict[str, Any], pictures: Array) -> float:
    """Mean -log P(v), nats, all v enumerated and h summed in closed form."""

    def energy(v: Array) -> Array:
        on = v @ parameters["W"] + parameters["c"]
        found: Array = v @ parameters["b"] - np.logaddexp(0.0, -on).sum(axis=1)
        return found

    every = np.array(list(itertools.product([0, 1], repeat=pictures.shape[1])))
    return float(energy(pictures).mean() + np.logaddexp.reduce(-energy(every)))


def machine_rows(folder: pathlib.Path, quick: bool) -> Iterator[Row]:
    """Contrastive divergence, and for comparison the likelihood it stands for."""
    pictures = bars_and_stripes()
    least = round(float(np.log(len(pictures))), 3)
    for work, loss, optimizer, epochs in (
        ("contrastive divergence, 1 sweep", fg.losses.contrastive_divergence(1), _momentum(14), 500),
        ("contrastive divergence, 5 sweeps", fg.losses.contrastive_divergence(5), _momentum(14), 500),
        ("likelihood", fg.losses.likelihood(), None, 200),
    ):
        graph = machine(pictures.shape[1], 8)
        model = fg.EnergyModel(graph, loss=loss, latent="marginalize", optimizer=optimizer)
        start = {name: parameter.initial for name, parameter in graph.parameters.items()}
        train = Set([{}] * 56, [{"v": picture} for picture in np.repeat(pictures, 4, axis=0)])
        began, busy = time.perf_counter(), time.process_time()
        model.fit(None, train.targets, epochs=2 if quick else epochs)
        yield {
            "work": f"Boltzmann machine, {work}", "samples": 56, "updates": len(model.history),
            "seconds": round(time.perf_counter() - began, 2), "processor": round(time.process_time() - busy, 2),
            "nats_before": round(surprise(start, pictures), 3), "nats": round(surprise(model.parameters, pictures), 3),
            "least": least,
        }  # fmt: skip


def _momentum(batch_size: int) -> Any:
    return fg.optimizers.sgd(0.5, batch_size=batch_size, momentum=0.5)


TABLES: dict[str, tuple[str, Callable[[pathlib.Path, bool], Iterator[Row]]]] = {
    "letters": ("letters/letters.npz", losses_on_letters),
    "many_letters": ("letters/letters.npz", many_letters),
    "snakes": ("snakes/snakes.npz", snake_rows),
    "digits": ("", digit_rows),
    "machine": ("", machine_rows),
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", nargs="?", type=pathlib.Path, default=DATA)
    parser.add_argument("--only", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--quick", action="store_true", help="few samples and updates: does it run, not how well")
    parser.add_argument("--json", action="store_true", help="one line of JSON for each row")
    chosen = parser.parse_args(arguments)
    for name in chosen.only:
        file, rows = TABLES[name]
        if file and not (chosen.folder / file).is_file():
            print(f"{name} is left out: there is no {chosen.folder / file}")
            continue
        header: list[str] = []
        for row in rows(chosen.folder, chosen.quick):
            if chosen.json:
                print(json.dumps(row), flush=True)
                continue
            if list(row) != header:
                header = list(row)
                print(f"\n| {' | '.join(header)} |\n|{'---|' * len(header)}")
            print(f"| {' | '.join(str(value) for value in row.values())} |", flush=True)


if __name__ == "__main__":
    main()
