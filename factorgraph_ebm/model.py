"""The energy-based model: an architecture, an inference, a loss and an optimiser, chosen independently.

    E(W, Y, X, Z);   fit: argmin over W of (1/P) sum over samples of weight L(E(W, .), Y right) + R(W)

(LeCun, Chopra, Hadsell, Ranzato and Huang, "A tutorial on energy-based learning", 2006). Changing one of the four never
touches the code of another; combinations that cannot work are refused when the model is made, or when it is fitted.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from factorgraph_ebm.arrays import F64
from factorgraph_ebm.errors import EvidenceError, MethodError, ParameterError
from factorgraph_ebm.graph.graph import FactorGraph
from factorgraph_ebm.learning.asking import Inference
from factorgraph_ebm.learning.choices import check_choices, check_inference, choose_optimizer, read_inference
from factorgraph_ebm.learning.data import Architecture, Dicts, given_of, graph_of, read_data
from factorgraph_ebm.learning.evaluate import make_problem
from factorgraph_ebm.learning.layout import Layout, layout_of
from factorgraph_ebm.learning.model_file import options_of, read_model, write_model
from factorgraph_ebm.learning.optimizers import as_optimizer
from factorgraph_ebm.learning.optimizers.optimizer import Optimizer
from factorgraph_ebm.learning.preparing import (
    fingerprint,
    labelled_names,
    read_pairs,
    read_seed,
    read_weights,
    set_aside,
    warn_of_constants,
    warn_of_symmetry,
)
from factorgraph_ebm.learning.problem_oracle import make_oracle
from factorgraph_ebm.learning.regularizers import Specification, bind_regularizer
from factorgraph_ebm.learning.scoring import mean_loss, share_right
from factorgraph_ebm.learning.training import Settings, train
from factorgraph_ebm.learning.watching import Row, Watch
from factorgraph_ebm.losses import Loss, as_loss, check_beta
from factorgraph_ebm.losses.costs import check_cost_names
from factorgraph_ebm.questions.asking import read_beta, read_count
from factorgraph_ebm.questions.energy import energy
from factorgraph_ebm.questions.marginals import marginals
from factorgraph_ebm.questions.minimize import minimize
from factorgraph_ebm.questions.rank import rank


class EnergyModel:
    """A model that is trained on samples and asked for best guesses, rankings and distributions.

    Parameters
    ----------
    architecture : FactorGraph, or a function from a sample (any dict) to the graph of that sample
    loss : a word such as "likelihood", "hinge" or "perceptron", or a call such as `losses.hinge(margin="hamming")`
    optimizer : a word such as "lbfgs" or "sgd", or a call such as `optimizers.sgd(learning_rate=0.1)`. None: lbfgs
        for losses without kinks, bcfw for a hinge with `l2` and full labels, sgd(average=True) for all else
    regularizer : `l2(strength)`, `l1`, `elastic_net`, `group`, or a list of them
    inference : the name of a method, or the options of a verb: `dict(method="bp", damping=0.3)`
    latent : "minimize" over what has no right answer, or "marginalize" it at beta
    beta : inverse temperature of what is summed

    Attributes
    ----------
    parameters : name -> array; empty before `fit`
    history : list of a dict for each update, NaN for what is not known: update, loss, objective, gradient_norm (as the
        optimiser met them), unconverged (samples whose inference did not converge), seconds, validation; after updates
        1, 2, 4, 8, ... and the last also gap (energy of the best wrong answer above the right one, a mean over up to
        256 samples), gap_size (mean of its size) and spread (of all energies). Others are of the optimiser: step,
        bound and duality_gap (working_bound and working_gap where inference is not exact)

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
        self.inference = read_inference(inference)
        self.latent = latent
        self.beta = read_beta(beta)
        self.parameters: dict[str, F64] = {}
        self.history: list[Row] = []
        check_beta(self.loss, self.beta)
        if latent == "marginalize" and self.beta == 0.0:
            raise MethodError('latent="marginalize" needs beta above 0. Write beta=1.0, or latent="minimize".')
        check_inference(self.loss, self.inference.get("method", "auto"), self._options())
        check_choices(self.loss, self.optimizer, regularizer, latent)

    def _options(self) -> dict[str, Any]:
        return {name: value for name, value in self.inference.items() if name not in ("method", "threads")}

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
        rng: int | np.random.Generator = 0,
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
            these are kept (the best `score`, where the loss has no lower bound, or is no objective)
        patience : stop after so many updates without a better validation; needs one
        epochs : at most so many updates: epochs of sgd and its like, iterations of lbfgs
        callbacks : functions that are told each row of `history`; one that returns True stops the training
        checkpoint : path of a file that is written every ten updates and after the last. Where it exists, training
            goes on from it, and ends with the same bits as if it had never stopped; one of other data or choices is
            refused
        rng : seed of the order of samples, of draws, and of what is set aside; or a generator to draw it from
        progress : show a bar with the loss and the time left

        Raises
        ------
        EvidenceError, ParameterError : samples and targets that do not fit the graphs, or nothing to learn.
        MethodError : the choices cannot work on these samples, or the loss became NaN or infinite: the message names
            sample and factor.
        FactorError : a right answer is forbidden.
        FormatError : the checkpoint is of other data or choices, broken, or cannot be written.

        Notes
        -----
        An interrupt (Ctrl-C) ends the training with a ConvergenceWarning, and the best parameters so far are kept.
        Inference that did not converge for some samples in the last update gives one as well, and a model that has
        collapsed a CollapseWarning. After an error the model is as it was before.
        """
        return self._fit(
            samples, targets, weights=weights, validation=validation, patience=patience, epochs=epochs,
            callbacks=callbacks, checkpoint=checkpoint, rng=rng, progress=progress,
        )  # fmt: skip

    def partial_fit(
        self,
        samples: Dicts,
        targets: Dicts,
        *,
        weights: npt.ArrayLike | None = None,
        rng: int | np.random.Generator = 0,
    ) -> Self:
        """One update, an epoch of sgd and its like, from the parameters as they are; arguments and errors as `fit`.

        What an optimiser remembers (momentum, curvature) begins anew in each call, and the order of samples and draws
        is another one. An optimiser that cannot go on from some parameters (bcfw, cutting_plane) is refused.
        """
        return self._fit(samples, targets, weights=weights, epochs=1, rng=rng, on=True)

    def _fit(
        self,
        samples: Dicts,
        targets: Dicts,
        *,
        weights: npt.ArrayLike | None,
        rng: int | np.random.Generator,
        validation: tuple[Dicts, Dicts] | float | None = None,
        patience: int | None = None,
        epochs: int | None = None,
        callbacks: Sequence[Callable[[Row], Any]] = (),
        checkpoint: str | os.PathLike[str] | None = None,
        progress: bool = False,
        on: bool = False,
    ) -> Self:
        """`on`: from the parameters and the history as they are."""
        earlier = self.history if on else []
        shares, seed = read_weights(weights, read_pairs(samples, targets)), read_seed(rng) + len(earlier)
        updates = None if epochs is None else read_count(epochs, "epochs= is None or an int", 0)
        if patience is not None:
            read_count(patience, "patience= is None or an int", 1)
            if validation is None:
                raise MethodError("patience= waits for a better validation. Write validation=0.2, or leave it out.")
        samples, targets, shares, aside = set_aside(samples, targets, shares, validation, seed)
        data = read_data(self.architecture, samples, targets)
        layout = layout_of(data.graphs)
        check_cost_names(self.loss.cost, labelled_names(data))
        warn_of_constants(data, stacklevel=4)
        problem = make_problem(data, layout, self.loss, self._inference(seed), shares)
        start = self._start(layout) if on else layout.start
        warn_of_symmetry(problem, start, stacklevel=4)
        watch = Watch(shares)
        oracle = make_oracle(problem, start, seed, watch.note)
        regularizer = bind_regularizer(self.regularizer, layout)
        optimizer = choose_optimizer(self.loss, self.optimizer, oracle, regularizer, anew=not on)
        how = Settings(
            updates, None if aside is None else self._validator(aside, layout), patience, tuple(callbacks), checkpoint,
            progress=progress, earlier=len(earlier),
        )  # fmt: skip
        if checkpoint is not None:
            told = options_of(self.loss, np.ndarray.tolist)
            choices = (told, optimizer.name, self.beta, self.latent, sorted(self.inference.items()), seed)
            how = how._replace(fingerprint=fingerprint(problem, regularizer, start, *choices))
        trained = train(problem, oracle, watch, optimizer, regularizer, how)
        self.parameters = {name: np.array(value) for name, value in layout.values(trained.w).items()}
        self.history = [*earlier, *trained.history]
        return self

    def _inference(self, seed: int) -> Inference:
        latent = math.inf if self.latent == "minimize" else self.beta
        method, threads = self.inference.get("method", "auto"), self.inference.get("threads")
        return Inference(method, self._options(), self.beta, latent, seed=seed, threads=threads)

    def _start(self, layout: Layout) -> F64:
        """The parameters as they are, or `initial` for those that are new."""
        initial = layout.values(layout.start)
        known = {name: self.parameters.get(name, initial[name]) for name in layout.names}
        for name, value in known.items():
            if value.shape != initial[name].shape:
                raise ParameterError(
                    f'parameter "{name}" has shape {initial[name].shape} in these graphs, and was learned with '
                    f"{value.shape}. Call fit to begin anew."
                )
        return layout.vector(known)

    def _validator(self, aside: tuple[Dicts, Dicts], layout: Layout) -> Callable[[F64], float]:
        samples, targets = aside
        if not self.loss.is_objective or self.loss.lower_bound == -math.inf:
            return lambda w: 1.0 - self.score(samples, targets, parameters=layout.values(w))
        return mean_loss(read_data(self.architecture, samples, targets), layout, self.loss, self._inference(0))

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
        if len(samples) != len(assignments):
            raise EvidenceError(f"{len(samples)} samples and {len(assignments)} assignments: each has its own.")
        graphs, given = self._read(samples)
        full = [{**named, **answer} for named, answer in zip(given, assignments, strict=True)]
        found = energy(graphs, full, parameters=self._values(graphs, None))
        return found if is_list else found[0]

    def score(
        self, samples: Dicts, targets: Dicts, *, weights: npt.ArrayLike | None = None, per: str = "cell",
        of: Any = None, **keywords: Any,
    ) -> float:  # fmt: skip
        """Share of the labelled target cells that the best guess gets right, from 0 to 1.

        Parameters
        ----------
        weights : (n,) of samples, at least 0; None: 1
        per : "cell", or "sample": the share of samples all of whose labelled cells are right
        of : the variables that count, by name; None: all
        keywords : of `minimize`, as in `best_guess`
        """
        shares = read_weights(weights, read_pairs(samples, targets))
        data = read_data(self.architecture, samples, targets)
        given = [{}] * len(data.graphs) if samples is None else [given_of(g, s) for g, s in zip(data.graphs, samples)]
        values = self._values(data.graphs, keywords.pop("parameters", None))
        how = self._how({"latent": self.latent, "beta": self.beta, **keywords})
        return share_right(data, given, values, how, shares, per, of)

    def _how(self, keywords: Mapping[str, Any]) -> dict[str, Any]:
        """The keywords of a verb, and what the model says of inference: options are of a method, another has others."""
        method = self.inference.get("method", "auto")
        usual = self.inference if keywords.get("method", method) == method else {}
        return {**usual, **keywords}

    def _ask(self, verb: Callable[..., Any], sample: Any, keywords: dict[str, Any]) -> Any:
        is_list = isinstance(sample, (list, tuple))
        graphs, given = self._read(list(sample) if is_list else [sample])
        values = self._values(graphs, keywords.pop("parameters", None))
        found = verb(graphs, given, parameters=values, **self._how(keywords))
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
        """Write parameters, history, the loss with its options, and the other choices that are words and numbers.

        Not what is code: the architecture, and a loss that is made of functions, which `load` must be given again.
        """
        choices = {
            "loss": self.loss, "latent": self.latent, "beta": self.beta, "inference": self.inference,
        }  # fmt: skip
        write_model(path, self.parameters, self.history, choices)

    @classmethod
    def load(cls, path: str | os.PathLike[str], architecture: Architecture, **choices: Any) -> Self:
        """Read a model that was saved, for the same architecture.

        Parameters
        ----------
        choices : loss, optimizer, regularizer, inference, latent, beta; without them as saved

        Raises
        ------
        FormatError : not such a file, or a broken one.
        MethodError : the loss was made of functions (`losses.custom`, `losses.margin`), and no loss= is given.

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
        parameters, history, told = read_model(path, choices.get("loss"))
        model = cls(architecture, **{**told, **choices})
        model.parameters, model.history = parameters, history
        return model

    def __repr__(self) -> str:
        fitted = f"{len(self.parameters)} parameters" if self.parameters else "not fitted"
        return f"<EnergyModel: loss {self.loss.name}, {fitted}>"
