"""The energy-based model: an architecture, an inference, a loss and an optimiser, chosen independently.

    E(W, Y, X, Z);   fit: argmin over W of (1/P) sum over samples of weight L(E(W, .), Y right) + R(W)

(LeCun, Chopra, Hadsell, Ranzato and Huang, "A tutorial on energy-based learning", 2006). Changing one of the four never
touches the code of another; combinations that cannot work are refused when the model is made, or when it is fitted.
"""

from __future__ import annotations

import hashlib
import math
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from factorgraph_ebm.arrays import F64
from factorgraph_ebm.errors import EvidenceError, FormatError, MethodError, ParameterError
from factorgraph_ebm.formats.archive import ArchiveReader, ArchiveWriter
from factorgraph_ebm.graph.expressions import Computed
from factorgraph_ebm.graph.graph import FactorGraph
from factorgraph_ebm.inference import METHODS, check_options
from factorgraph_ebm.learning.asking import Inference
from factorgraph_ebm.learning.capabilities import refusals
from factorgraph_ebm.learning.data import Architecture, Data, Dicts, given_of, graph_of, read_data
from factorgraph_ebm.learning.evaluate import Problem, make_problem
from factorgraph_ebm.learning.layout import Layout, layout_of
from factorgraph_ebm.learning.optimizers import as_optimizer, bcfw, lbfgs, sgd
from factorgraph_ebm.learning.optimizers.optimizer import Optimizer
from factorgraph_ebm.learning.oracle import UNREGULARIZED, Oracle, Regularizer, from_slopes, objective
from factorgraph_ebm.learning.problem_oracle import make_oracle
from factorgraph_ebm.learning.regularizers import Penalty, Specification, VectorLayout, bind_regularizer
from factorgraph_ebm.learning.training import Row, Settings, Trained, train
from factorgraph_ebm.losses import Loss, as_loss, check_beta
from factorgraph_ebm.losses.costs import check_cost_names
from factorgraph_ebm.losses.loss import SUMMED
from factorgraph_ebm.questions.asking import read_beta
from factorgraph_ebm.questions.energy import energy
from factorgraph_ebm.questions.marginals import marginals
from factorgraph_ebm.questions.minimize import minimize
from factorgraph_ebm.questions.rank import rank

KIND, VERSION = "model of factorgraph_ebm", 1


class EnergyModel:
    """A model that is trained on samples and asked for best guesses, rankings and distributions.

    Parameters
    ----------
    architecture : FactorGraph, or a function from a sample (any dict) to the graph of that sample
    loss : a word such as "likelihood", "hinge" or "perceptron", or a call such as `losses.hinge(margin="hamming")`
    optimizer : a word such as "lbfgs" or "sgd", or a call such as `optimizers.sgd(learning_rate=0.1)`. None: bcfw
        for a hinge with `l2` and full labels, sgd(average=True) for other losses that are maxima of affine functions
        and for contrastive divergence, lbfgs for all others
    regularizer : `l2(strength)`, `l1`, `elastic_net`, `group`, or a list of them
    inference : the name of a method, or the options of a verb: `dict(method="bp", damping=0.3)`
    latent : "minimize" over what has no right answer, or "marginalize" it at beta
    beta : inverse temperature of what is summed

    Attributes
    ----------
    parameters : name -> array; empty before `fit`
    history : list of a dict for each update: update, loss, objective, gradient_norm, gap (mean energy of the best wrong
        answer above the right one), unconverged (samples whose inference did not converge), seconds, validation

    Raises
    ------
    MethodError : an unknown word, or choices that cannot work together; the message says what to use instead.

    Examples
    --------
    >>> import factorgraph_ebm as fg
    >>> w = fg.Parameter("w", shape=(2, 2))
    >>> def architecture(sample):
    ...     y = fg.output("y", shape=len(sample["x"]), states=["low", "high"])
    ...     return fg.FactorGraph([fg.Table([y], energies=fg.Linear(sample["x"], w))])
    >>> samples = [{"x": np.array([[1.0, 0.0], [0.0, 1.0]])}]
    >>> model = fg.EnergyModel(architecture, loss="likelihood", regularizer=fg.l2(0.01))
    >>> model = model.fit(samples, [{"y": ["low", "high"]}])
    >>> model.best_guess(samples[0])["y"].tolist()
    ['low', 'high']
    """

    def __init__(
        self,
        architecture: Architecture,
        *,
        loss: str | Loss | Callable[..., Loss],
        optimizer: str | Optimizer | None = None,
        regularizer: Specification = None,
        inference: str | Mapping[str, Any] = "auto",
        latent: str = "minimize",
        beta: float = 1.0,
    ) -> None:
        if not isinstance(architecture, FactorGraph) and not callable(architecture):
            raise MethodError(
                "architecture= is a FactorGraph, or a function from a sample to one, not "
                f"{type(architecture).__name__}."
            )
        if latent not in ("minimize", "marginalize"):
            raise MethodError(f'latent= is "minimize" or "marginalize", not {latent!r}.')
        self.architecture = architecture
        self.loss = as_loss(loss)
        self.optimizer = None if optimizer is None else as_optimizer(optimizer)
        self.regularizer = regularizer
        self.inference: dict[str, Any] = {"method": inference} if isinstance(inference, str) else dict(inference)
        self.latent = latent
        self.beta = read_beta(beta)
        self.parameters: dict[str, F64] = {}
        self.history: list[Row] = []
        check_beta(self.loss, self.beta)
        self._check_inference()
        self._check_optimizer()

    # What is refused before anything is seen.

    def _check_inference(self) -> None:
        method = self.inference.get("method", "auto")
        check_options(method, self._options())
        if method == "auto":
            return
        chosen = METHODS[method]
        sums = [query.kind for query in self.loss.queries if query.kind in SUMMED - {"pieces", "sites"}]
        if sums and chosen.marginals is None:
            raise MethodError(
                f'method "{method}" finds best guesses; loss "{self.loss.name}" asks for a free energy. Write '
                'inference="bp" or "auto", or loss="hinge".'
            )
        minima = [query.kind for query in self.loss.queries if query.kind in ("best", "wrong")]
        if minima and chosen.best is None:
            raise MethodError(
                f'method "{method}" finds no best guesses, which loss "{self.loss.name}" asks for. Write '
                'inference="bp" or "auto".'
            )

    def _options(self) -> dict[str, Any]:
        return {name: value for name, value in self.inference.items() if name not in ("method", "threads")}

    def _check_optimizer(self) -> None:
        """What the optimiser needs against what is known of the loss and the regulariser alone."""
        if self.optimizer is None:
            return
        loss = self.loss
        known = {
            "convex": loss.convex, "piecewise_linear": loss.piecewise_linear, "smooth": loss.smooth,
            "objective": loss.is_objective,
        }  # fmt: skip
        # What depends on samples is taken for granted, until they are seen.
        traits = {name for name, holds in known.items() if holds} | {"linear", "fully_labelled", "exact"}
        empty = np.zeros((0, 1))
        oracle = from_slopes(lambda w, s: (empty[:, 0], empty), [0.0], n_samples=0, traits=traits)
        oracle = oracle._replace(complete=lambda w: oracle)
        reason = refusals(self.optimizer, oracle, self._assumed())
        if reason is not None:
            raise MethodError(f"{reason} (loss {loss.name!r})")

    def _assumed(self) -> Regularizer:
        """The regulariser as it would be on some vector."""
        if self.regularizer is None:
            return UNREGULARIZED
        parts = [self.regularizer] if isinstance(self.regularizer, (Penalty, Regularizer)) else list(self.regularizer)
        return bind_regularizer(
            [part._replace(only=None) if isinstance(part, Penalty) else part for part in parts], VectorLayout(1)
        )

    # Training.

    def fit(
        self,
        samples: Dicts,
        targets: Dicts,
        *,
        weights: npt.ArrayLike | None = None,
        validation: tuple[Dicts, Dicts] | float | None = None,
        patience: int | None = None,
        epochs: int | None = None,
        callbacks: Sequence[Callable[[Row], Any]] = (),
        checkpoint: str | os.PathLike[str] | None = None,
        rng: int = 0,
        progress: bool = False,
    ) -> Self:
        """Learn the parameters of P(targets | samples), from their `initial` values (0 where there are none).

        Parameters
        ----------
        samples : list of dicts: what is conditioned on, and whatever else the architecture reads. None: nothing, and
            `targets` are modelled jointly
        targets : list of dicts: the right answers. What is missing (None, -1, masked, no key) is latent
        weights : (n,) of samples, at least 0; None: 1
        validation : (samples, targets), or the share of the samples to set aside; the parameters with the best loss on
            these are kept (the best `score`, where the loss has no value to compare)
        patience : stop after so many updates without a better validation
        epochs : at most so many updates: epochs of sgd and its like, iterations of lbfgs
        callbacks : functions that are told each row of `history`; one that returns True stops the training
        checkpoint : path of a file that is written every ten updates. Where it exists, training goes on from it, and
            ends with the same bits as if it had never stopped
        rng : seed of the order of samples, of draws, and of what is set aside
        progress : show a bar with the loss and the time left

        Raises
        ------
        EvidenceError, ParameterError : samples and targets that do not fit the graphs, or nothing to learn.
        MethodError : the choices cannot work on these samples, or the loss became NaN or infinite.
        FactorError : a right answer is forbidden.
        """
        self.history, self.parameters = [], {}
        return self._fit(
            samples, targets, weights=weights, validation=validation, patience=patience, epochs=epochs,
            callbacks=callbacks, checkpoint=checkpoint, rng=rng, progress=progress,
        )  # fmt: skip

    def partial_fit(
        self, samples: Dicts, targets: Dicts, *, weights: npt.ArrayLike | None = None, rng: int = 0
    ) -> Self:
        """One update, an epoch of sgd and its like, from the parameters as they are; arguments and errors as `fit`."""
        return self._fit(samples, targets, weights=weights, epochs=1, rng=rng)

    def _fit(
        self,
        samples: Dicts,
        targets: Dicts,
        *,
        weights: npt.ArrayLike | None,
        rng: int,
        validation: tuple[Dicts, Dicts] | float | None = None,
        patience: int | None = None,
        epochs: int | None = None,
        callbacks: Sequence[Callable[[Row], Any]] = (),
        checkpoint: str | os.PathLike[str] | None = None,
        progress: bool = False,
    ) -> Self:
        shares = _read_weights(weights, samples if samples is not None else targets)
        aside: tuple[Dicts, Dicts] | None = None
        if isinstance(validation, (int, float)):
            samples, targets, shares, aside = _set_aside(samples, targets, shares, float(validation), rng)
        elif validation is not None:
            aside = validation
        data = read_data(self.architecture, samples, targets)
        layout = layout_of(data.graphs)
        check_cost_names(self.loss.cost, _labelled_names(data))
        _warn_of_constants(data)
        problem = make_problem(data, layout, self.loss, self._inference(rng), shares)
        start = self._start(layout)
        _warn_of_symmetry(problem, start)
        oracle = make_oracle(problem, start, rng)
        regularizer = bind_regularizer(self.regularizer, layout)
        optimizer = self._optimizer_for(oracle, regularizer)
        reason = refusals(optimizer, oracle, regularizer)
        if reason is not None:
            raise MethodError(reason)
        how = Settings(
            epochs, None if aside is None else self._validator(aside, layout), patience, tuple(callbacks), checkpoint,
            fingerprint=self._fingerprint(layout, optimizer, rng, shares), progress=progress,
        )  # fmt: skip
        trained: Trained = train(problem, oracle, optimizer, regularizer, how)
        self.parameters = {name: np.array(value) for name, value in layout.values(trained.w).items()}
        self.history = [*self.history, *trained.history]
        return self

    def _inference(self, seed: int) -> Inference:
        latent = math.inf if self.latent == "minimize" else self.beta
        method, threads = self.inference.get("method", "auto"), self.inference.get("threads")
        return Inference(method, self._options(), self.beta, latent, seed=seed, threads=threads)

    def _start(self, layout: Layout) -> F64:
        if not self.parameters:
            return layout.start
        initial = layout.values(layout.start)
        return layout.vector({name: self.parameters.get(name, initial[name]) for name in layout.names})

    def _optimizer_for(self, oracle: Oracle, regularizer: Regularizer) -> Optimizer:
        if self.optimizer is not None:
            return self.optimizer
        if self.loss.is_objective and not self.loss.piecewise_linear:
            return lbfgs()
        if self.loss.name == "hinge" and refusals(bcfw(), oracle, regularizer) is None:
            return bcfw()
        return sgd(average=True)

    def _validator(self, aside: tuple[Dicts, Dicts], layout: Layout) -> Callable[[F64], float]:
        samples, targets = aside
        if not self.loss.is_objective or self.loss.lower_bound == -math.inf:
            return lambda w: 1.0 - self._score(samples, targets, layout.values(w))
        data = read_data(self.architecture, samples, targets)
        problem = make_problem(data, layout, self.loss, self._inference(0), np.ones(len(data.graphs)))
        oracle = make_oracle(problem, layout.start, 0)
        return lambda w: objective(oracle, UNREGULARIZED, w).loss

    def _fingerprint(self, layout: Layout, optimizer: Optimizer, seed: int, weights: F64) -> str:
        told = (layout.fingerprint(), self.loss.name, optimizer.name, self.beta, self.latent, seed, weights.tolist())
        return hashlib.sha256(repr(told).encode()).hexdigest()[:16]

    # Asking.

    def graph(self, sample: Mapping[Any, Any]) -> FactorGraph:
        """The graph of a sample, as the architecture builds it."""
        return graph_of(self.architecture, sample)

    def best_guess(self, sample: Any, **keywords: Any) -> Any:
        """`minimize` on the graph of a sample, or of each of a list, with the parameters of the model."""
        return self._ask(minimize, sample, {"latent": self.latent, "beta": self.beta, **keywords})

    def distribution(self, sample: Any, **keywords: Any) -> Any:
        """`marginals` on the graph of a sample, or of each of a list, with the parameters of the model."""
        return self._ask(marginals, sample, {"beta": self.beta, **keywords})

    def rank(self, sample: Any, candidates: Sequence[Mapping[Any, Any]], **keywords: Any) -> Any:
        """`rank` on the graph of a sample, or of each of a list, with the parameters of the model."""

        def ask(graph: Any, given: Any, **more: Any) -> Any:
            return rank(graph, candidates, given, **more)

        return self._ask(ask, sample, {"latent": self.latent, "beta": self.beta, **keywords})

    def energy(self, sample: Any, assignment: Any) -> Any:
        """`energy` of an assignment of all variables that the sample does not give, in nats."""
        is_list = isinstance(sample, (list, tuple))
        samples, assignments = (list(sample), list(assignment)) if is_list else ([sample], [assignment])
        graphs, given = self._read(samples)
        full = [{**named, **answer} for named, answer in zip(given, assignments, strict=True)]
        found = energy(graphs, full, parameters=self._values(graphs, None))
        return found if is_list else found[0]

    def score(self, samples: Dicts, targets: Dicts) -> float:
        """Share of the target cells that the best guess gets right."""
        return self._score(samples, targets, None)

    def _score(self, samples: Dicts, targets: Dicts, values: Mapping[str, F64] | None) -> float:
        data = read_data(self.architecture, samples, targets)
        asked = list(samples) if samples is not None else [{}] * len(data.graphs)
        graphs, given = data.graphs, [given_of(g, s) for g, s in zip(data.graphs, asked)]
        right = total = 0
        keywords = {"latent": self.latent, "beta": self.beta, **self.inference}
        guesses = minimize(graphs, given, parameters=self._values(graphs, values), **keywords)
        for i, (graph, guess) in enumerate(zip(graphs, guesses)):
            labelled = data.labelled(i)
            for name, offset in graph.cell_offset.items():
                here = slice(offset, offset + graph[name].size)
                if labelled[here].any():
                    said = guess.indices[name].reshape(-1)
                    right += int(np.count_nonzero((said == data.targets[i].states[here]) & labelled[here]))
                    total += int(np.count_nonzero(labelled[here]))
        if not total:
            raise EvidenceError("targets have no labels to compare with.")
        return right / total

    def _ask(self, verb: Callable[..., Any], sample: Any, keywords: dict[str, Any]) -> Any:
        is_list = isinstance(sample, (list, tuple))
        graphs, given = self._read(list(sample) if is_list else [sample])
        values = self._values(graphs, keywords.pop("parameters", None))
        found = verb(graphs, given, parameters=values, **{**self.inference, **keywords})
        return found if is_list else found[0]

    def _read(self, samples: Sequence[Any]) -> tuple[list[FactorGraph], list[dict[Any, Any]]]:
        for i, sample in enumerate(samples):
            if not isinstance(sample, Mapping):
                raise EvidenceError(f"sample {i} is a {type(sample).__name__}, not a dict.")
        graphs = [self.graph(sample) for sample in samples]
        return graphs, [given_of(graph, sample) for graph, sample in zip(graphs, samples)]

    def _values(self, graphs: Sequence[FactorGraph], values: Mapping[str, npt.ArrayLike] | None) -> dict[str, Any]:
        """Those of the model's parameters that the graphs have; others have their initial values."""
        known: Mapping[str, Any] = {**self.parameters, **({} if values is None else values)}
        declared = {name: p for g in {id(g): g for g in graphs}.values() for name, p in g.parameters.items()}
        for name, parameter in declared.items():
            if name not in known and parameter.initial is None:
                raise ParameterError(f'parameter "{name}" has no value yet. Call fit first, or write initial=.')
        return {name: value for name, value in known.items() if name in declared}

    # Files.

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write parameters, history and the choices that are words and numbers; not the architecture, which is code."""
        archive = ArchiveWriter()
        arrays = {name: archive.add(value) for name, value in self.parameters.items()}
        history = [{name: float(value).hex() for name, value in row.items()} for row in self.history]
        archive.write(path, {
            "kind": KIND, "version": VERSION, "parameters": arrays, "history": history, "loss": self.loss.name,
            "latent": self.latent, "beta": float(self.beta).hex(),
        })  # fmt: skip

    @classmethod
    def load(cls, path: str | os.PathLike[str], architecture: Architecture, **choices: Any) -> Self:
        """Read a model that was saved, for the same architecture.

        Parameters
        ----------
        choices : loss, optimizer, regularizer, inference, latent, beta; without them the loss is the one of that name
            with its defaults

        Raises
        ------
        FormatError : not such a file, or a broken one.

        Examples
        --------
        >>> import factorgraph_ebm as fg, pathlib, tempfile
        >>> y = fg.output("y", n_states=2)
        >>> graph = fg.FactorGraph([fg.Table([y], energies=fg.Parameter("w", shape=2))])
        >>> model = fg.EnergyModel(graph, loss="likelihood").fit(None, [{"y": 1}, {"y": 1}, {"y": 0}])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     model.save(pathlib.Path(folder, "model.npz"))
        ...     again = fg.EnergyModel.load(pathlib.Path(folder, "model.npz"), graph)
        >>> bool(np.all(again.parameters["w"] == model.parameters["w"])), again.best_guess({})["y"].item()
        (True, 1)
        """
        archive = ArchiveReader(path)
        header = archive.header()
        if not isinstance(header, dict) or header.get("kind") != KIND:
            raise FormatError(f"{path}: not a saved model.")
        if header.get("version") != VERSION:
            raise FormatError(f"{path}: a model of version {header.get('version')!r}; this library reads {VERSION}.")
        try:
            told = {
                "loss": str(header["loss"]), "latent": str(header["latent"]), "beta": float.fromhex(header["beta"]),
            }  # fmt: skip
            parameters = {str(name): np.array(archive.array(at)) for name, at in header["parameters"].items()}
            history = [{str(name): float.fromhex(v) for name, v in row.items()} for row in header["history"]]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise FormatError(f"{path}: the header of the model is broken: {error}.") from None
        model = cls(architecture, **{**told, **choices})
        model.parameters, model.history = parameters, history
        return model

    def __repr__(self) -> str:
        fitted = f"{len(self.parameters)} parameters" if self.parameters else "not fitted"
        return f"<EnergyModel: loss {self.loss.name}, {fitted}>"


def _read_weights(weights: npt.ArrayLike | None, samples: Dicts) -> F64:
    n = 0 if samples is None else len(samples)
    if weights is None:
        return np.ones(n)
    read = np.array(weights, np.float64)
    if read.shape != (n,) or not np.isfinite(read).all() or (read < 0).any():
        raise EvidenceError(f"weights= has one finite number from 0 for each of {n} samples, not shape {read.shape}.")
    return read


def _set_aside(
    samples: Dicts, targets: Dicts, weights: F64, share: float, seed: int
) -> tuple[Dicts, Dicts, F64, tuple[Dicts, Dicts]]:
    """Split by a random order: what to train on, and what to validate on."""
    n = len(weights)
    count = round(share * n)
    if not 0.0 < share < 1.0 or not 0 < count < n:
        raise MethodError(
            f"validation= is (samples, targets), or a share of the {n} samples between 0 and 1, not {share}."
        )
    order = np.random.default_rng([seed, n]).permutation(n)
    kept, aside = np.sort(order[count:]).tolist(), np.sort(order[:count]).tolist()

    def those(dicts: Dicts, chosen: list[int]) -> Dicts:
        return None if dicts is None else [dicts[i] for i in chosen]

    return (
        those(samples, kept), those(targets, kept), weights[kept],
        (those(samples, aside), those(targets, aside)),
    )  # fmt: skip


def _labelled_names(data: Data) -> set[str]:
    return {
        name
        for i, graph in enumerate(data.graphs)
        for name, offset in graph.cell_offset.items()
        if data.labelled(i)[offset : offset + graph[name].size].any()
    }


def _warn_of_constants(data: Data) -> None:
    """Say where a parameter will not be learned, since a function of it has no pullback."""
    for graph in {id(g): g for g in data.graphs}.values():
        for key, factor in zip(graph.keys, graph.factors):
            for slot in factor.slots:
                source = slot.source
                if isinstance(source, Computed) and not source.learned and source.parameters:
                    names = ", ".join(f'"{p.name}"' for p in source.parameters)
                    warnings.warn(
                        f'factor "{key}": Computed has no pullback, so parameter {names} is not learned through it. '
                        "Write pullback=.",
                        UserWarning,
                        stacklevel=4,
                    )
                    return


def _warn_of_symmetry(problem: Problem, start: F64) -> None:
    graphs = {id(graph): graph for graph in problem.data.graphs}.values()
    hidden = any(variable.role == "latent" for graph in graphs for variable in graph.variables.values())
    if hidden and len(start) > 1 and np.all(start == start[0]):
        warnings.warn(
            "there are latent variables, and all parameters start equal: states of a latent variable may never come "
            "apart. Write initial=rng.normal(...) for some.",
            UserWarning,
            stacklevel=4,
        )
