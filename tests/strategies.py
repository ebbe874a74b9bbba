"""Random factor graphs, with all that a user may legally write: drawn by hypothesis or, much faster, by
numpy.

Both draw through a `Dice`, so there is one description of what a graph can be: `cases()` is the hypothesis
strategy, `case_of(seed)` the plain draw. A `Case` carries the graph, what is given in the user's words
(`given`) and the same in cell numbers (`known`). Sizes are small (`limit` configurations), shapes are odd:
no variables, empty groups, one state, isolated cells, heterogeneous cardinalities, a cell twice in a scope,
equal and nested scopes, numbers from every source, +inf, ties, 1e300, denormals.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import hypothesis.strategies as st
import numpy as np
import scipy.sparse
from dice import Dice

import factorgraph_ebm as fg

LABELS: list[list[Any]] = [
    ["a"],
    ["no", "yes"],
    [-1, +1],
    [False, True],
    [3, 1, 2],
    [0.5, -2.0, 7.25],
    ["NOUN", "VERB", "DET"],
    [10, 20, 30, 40],
]
HOW_MANY = [1, 0, 1, 1, 1, 1, 2, 2, 2, 2, 2, 3, 3, 3, 3]
SHAPES = [(), (2,), (3,), (4,), (5,), (6,), (7,), (8,), (2, 2), (2, 3), (3, 2), (1,), (0,), (2, 0), (2, 1, 2), (9,)]
LOGIC = ["AtMostOne", "ExactlyOne", "AtLeastOne", "Or", "And", "Parity"]
KINDS = ["normal", "integer", "forbidden", "integer forbidden", "tied", "huge", "denormal", "cold"]


@dataclasses.dataclass
class Case:
    """A drawn question. `values`: arrays of all parameters and observed reals, for the oracle."""

    graph: Any
    given: dict[Any, Any]
    known: dict[tuple[str, int], int]
    parameters: dict[str, np.ndarray]
    values: dict[str, np.ndarray]
    kind: str
    integral: bool

    def __repr__(self) -> str:
        return f"Case({self.kind}, given={self.given}, parameters={self.parameters})\n{self.graph}"


class Drawing:
    """One graph being drawn: its cells, its scopes so far, and the numbers that its parameters have."""

    def __init__(self, dice: Dice, kind: str, limit: int, constants_only: bool, prefix: str) -> None:
        self.prefix = prefix
        self.dice, self.kind, self.limit, self.constants_only = dice, kind, limit, constants_only
        self.variables: list[Any] = []
        self.cells: list[tuple[Any, int, int]] = []  # variable, flat index, number of states
        self.scopes: list[tuple[int, ...]] = []
        self.group: list[int] = []  # union-find over cells, to keep forests forests
        self.factors: list[Any] = []
        self.given: dict[Any, Any] = {}
        self.known: dict[tuple[str, int], int] = {}
        self.parameters: dict[str, np.ndarray] = {}
        self.values: dict[str, np.ndarray] = {}

    # variables

    def add_variables(self) -> None:
        budget = self.limit
        for number in range(self.dice.pick(HOW_MANY)):
            shape = self.dice.pick(SHAPES)
            size = math.prod(shape)
            declare = self.dice.pick([fg.output, fg.output, fg.output, fg.latent, fg.observed])
            name = f"{'xyzuvw'[number]}"
            form = self.dice.pick(["number", "number", "labels", "array"])
            if form == "labels":
                states = self.dice.pick(LABELS)
                counts = [len(states)] * size
                options: dict[str, Any] = {"states": states}
            elif form == "array":
                counts = [self.dice.pick([2, 1, 2, 3, 4, 2]) for _ in range(size)]
                options = {"n_states": np.array(counts, int).reshape(shape)}
            else:
                k = self.dice.pick([2, 2, 2, 2, 3, 3, 4, 1])
                counts = [k] * size
                options = {"n_states": k}
            if math.prod(counts) > budget:
                continue
            budget //= math.prod(counts)
            variable = declare(name, shape, **options)
            self.variables.append(variable)
            self.cells += [(variable, i, k) for i, k in enumerate(counts)]
        self.group = list(range(len(self.cells)))

    def view(self, cell: int) -> Any:
        variable, flat, _ = self.cells[cell]
        return variable[np.unravel_index(flat, variable.shape)] if variable.shape else variable

    def states(self, cell: int) -> int:
        return self.cells[cell][2]

    def root(self, cell: int) -> int:
        while self.group[cell] != cell:
            cell = self.group[cell]
        return cell

    def join(self, scope: tuple[int, ...]) -> None:
        self.scopes.append(scope)
        for cell in scope[1:]:
            self.group[self.root(cell)] = self.root(scope[0])

    # numbers

    def array(self, shape: tuple[int, ...], finite: bool = False) -> np.ndarray:
        rng, kind = self.dice.generator(), self.kind
        if kind in ("integer", "integer forbidden"):
            out = rng.integers(-3, 4, shape).astype(float)
        elif kind == "tied":
            out = np.full(shape, float(rng.integers(-1, 2)))
        elif kind == "huge":
            out = rng.choice([1e300, -1e300, 0.0, 1.0, -2.5], shape)
        elif kind == "denormal":
            out = rng.choice([5e-324, -5e-324, 1e-310, 2.3e-308, 0.0], shape)
        else:
            out = rng.normal(scale={"cold": 30.0}.get(kind, rng.choice([0.3, 1.0, 4.0])), size=shape)
        if "forbidden" in kind and not finite:
            out[rng.random(shape) < rng.choice([0.0, 0.15, 0.4])] = np.inf
        return np.asarray(out)

    def numbers(
        self, group: tuple[int, ...], own: tuple[int, ...], finite: bool = False, positive: bool = False
    ) -> Any:
        """A source of numbers for a group: own shape alone, one per factor, or broadcast along some axes."""
        dice = self.dice
        shape = dice.pick([(), group, tuple(dice.pick([1, g]) for g in group)]) + own
        if positive:
            value = abs(self.array(shape, finite))
            if self.constants_only or np.isinf(value).any() or dice.chance(60):
                return value
            return self.parameter(f"{self.prefix}p{len(self.values)}", value, bounds=(0.0, math.inf))
        source = "array" if self.constants_only else dice.pick(SOURCES)
        name = f"{self.prefix}p{len(self.values)}"
        if source == "array":
            out = self.array(shape, finite)
            return dice.pick([out, out.tolist() if out.size else out])
        if source == "observed real":
            lead, value = shape[: len(shape) - len(own)], self.array(shape, finite)
            variable = fg.observed(name, shape=lead, dim=own)
            self.given[name] = value
            self.values[name] = value
            return variable
        if source == "parameter":
            return self.parameter(name, self.array(shape, True))
        if source == "view":  # a gather along a new first axis: tied rows
            lead = shape[: len(shape) - len(own)]
            whole = self.parameter(name, self.array((3, *own), True))
            rng = dice.generator()
            return whole[rng.integers(0, 3, lead)] if lead else whole[int(rng.integers(0, 3))]
        if source == "linear":
            lead = shape[: len(shape) - len(own)]
            rng = dice.generator()
            features = rng.integers(-2, 3, (*lead, 2)).astype(float)
            if self.kind == "denormal" or self.kind == "huge":
                features = np.abs(np.sign(features))
            return fg.Linear(features, self.parameter(name, self.array((2, *own), True)))
        doubled = self.parameter(name, self.array(shape, True))
        return fg.Computed(lambda v: 2.0 * v, doubled, shape=shape, pullback=lambda v, gradient: (2.0 * gradient,))

    def parameter(self, name: str, value: np.ndarray, **bounds: tuple[float, float]) -> Any:
        self.values[name] = value
        if self.dice.chance(50):
            return fg.Parameter(name, value.shape, initial=value, **bounds)
        self.parameters[name] = value
        if self.dice.chance(30):  # given values win over initial ones
            return fg.Parameter(name, value.shape, initial=np.ones(value.shape), **bounds)
        return fg.Parameter(name, value.shape, **bounds)

    # factors

    def declare(self, edges: list[tuple[int, ...]]) -> None:
        """One declaration of `edges` (equal arity, all in one array per slot), or one for each."""
        if not edges:
            return
        slots = [{id(self.cells[edge[s]][0]) for edge in edges} for s in range(len(edges[0]))]
        one_array_per_slot = all(len(found) == 1 for found in slots)
        one_array = one_array_per_slot and len(set.union(*slots)) == 1
        forms = ["single"] + ["gather"] * one_array_per_slot + ["bare", "members"] * one_array
        form = self.dice.pick(forms)
        flat = np.array([[self.cells[c][1] for c in edge] for edge in edges])
        arrays = [self.cells[c][0].ravel() for c in edges[0]]
        if form == "single":
            for edge in edges:
                self.structure([self.view(c) for c in edge], {}, (), [self.states(c) for c in edge])
        elif form == "gather":
            scope = [a[flat[:, s]] for s, a in enumerate(arrays)]
            self.structure(scope, {}, (len(edges),), [widest(v) for v in scope])
        elif form == "bare":
            scope = arrays[0][flat]
            self.structure(scope, {"axis": 1}, (len(edges),), [widest(v) for v in scope.T])
        else:
            if {self.states(c) for edge in edges for c in edge} == {2} and self.dice.chance(40):
                energies = self.numbers((len(edges),), (len(edges[0]) + 1,))
                members = [list(map(int, row)) for row in flat]
                self.factors.append(fg.Cardinality(arrays[0], energies, members=members))
                return
            tables = [self.array(tuple(self.states(c) for c in edge)) for edge in edges]
            self.factors.append(fg.Table(arrays[0], members=[list(map(int, row)) for row in flat], energies=tables))

    def structure(self, scope: Any, options: dict[str, Any], group: tuple[int, ...], states: list[int]) -> None:
        """A Table, or another structure where it is legal."""
        dice = self.dice
        views = scope if isinstance(scope, list) else [scope[..., s] for s in range(len(states))]
        kinds = ["Table"] * 3
        if (
            len(views) == 2
            and len({self.domain(v) for v in views}) == 1
            and None not in {self.domain(v) for v in views}
        ):
            kinds += ["Potts", "TruncatedLinear", "TruncatedQuadratic"]
        whole = "integer" in self.kind or self.kind == "tied"
        if all(self.numeric(v, whole) for v in views) and self.kind not in ("huge", "denormal"):
            kinds += ["Product"]
        if len(views) > 1 and all(self.is_on_off(v) for v in views):
            kinds += ["Cardinality"]
            if "forbidden" in self.kind:
                kinds += [dice.pick(LOGIC)] + ["Implies"] * (len(views) == 2)
        kinds += ["SparseTable"]
        if "forbidden" in self.kind and len(views) > 1:
            kinds += ["LinearConstraint"]
            if len({self.domain(v) for v in views}) == 1 and None not in {self.domain(v) for v in views}:
                kinds += ["AllDifferent", "Maximum"]
        kind = dice.pick(kinds)
        name = {"name": f"factor {len(self.factors)}"} if dice.chance(40) else {}
        if kind == "Table":
            self.factors.append(fg.Table(scope, energies=self.numbers(group, tuple(states)), **options, **name))
        elif kind == "Potts":
            self.factors.append(fg.Potts(scope, penalty=self.numbers(group, ()), **options, **name))
        elif kind == "LinearConstraint":
            rng = dice.generator()
            weights = rng.choice([-2.0, -1.0, -0.5, 0.0, 0.25, 1.0, 3.0], (*dice.pick([(), group]), len(views)))
            bound = rng.choice([-1.0, 0.0, 0.5, 1.0, 2.0, 4.0], dice.pick([(), group]))
            relation = dice.pick(["<=", "==", ">="])
            self.factors.append(fg.LinearConstraint(scope, weights, relation, bound, **options, **name))
        elif kind in ("AllDifferent", "Maximum"):
            self.factors.append(getattr(fg, kind)(scope, **options, **name))
        elif kind == "SparseTable":
            self.factors.append(self.sparse(scope, views, options | name, group, tuple(states)))
        elif kind in ("TruncatedLinear", "TruncatedQuadratic"):
            limits = [0.0, 1.0, 2.0, math.inf] if whole else [0.0, 0.5, 1.0, 1.7, 2.0, 4.0, math.inf]
            limit = dice.generator().choice(limits, dice.pick([(), group]))
            weight = self.numbers(group, (), positive=True)
            self.factors.append(getattr(fg, kind)(scope, weight=weight, limit=limit, **options, **name))
        elif kind == "Product":
            self.factors.append(fg.Product(scope, weight=self.numbers(group, (), finite=True), **options, **name))
        elif kind == "Cardinality":
            self.factors.append(fg.Cardinality(scope, self.numbers(group, (len(views) + 1,)), **options, **name))
        else:
            self.factors.append(getattr(fg, kind)(scope, **options, **name))

    def is_on_off(self, view: Any) -> bool:
        """Has every cell two states?"""
        domain = self.domain(view)
        return domain == 2 or (isinstance(domain, tuple) and len(domain) == 2)

    def sparse(
        self, scope: Any, views: list[Any], options: dict[str, Any], group: tuple[int, ...], states: tuple[int, ...]
    ) -> Any:
        """Some configurations, or all where nothing else would be forbidden, in the words of the variables."""
        dice, rng = self.dice, self.dice.generator()
        entries = math.prod(states)
        count = entries
        otherwise = math.inf
        if "forbidden" in self.kind or dice.chance(50):
            count = dice.integer(0, entries)
            if "forbidden" not in self.kind or dice.chance(30):
                otherwise = float(self.array((), finite=True))
        listed = np.array(np.unravel_index(rng.permutation(entries)[:count], states), int).reshape(len(states), count)
        columns = [
            column.tolist() if view.states is None else [view.states[state] for state in column]
            for view, column in zip(views, listed, strict=True)
        ]
        rows: Any = [list(row) for row in zip(*columns, strict=True)] if states else [[]] * count
        if all(view.states is None for view in views):
            rows = listed.T
        energies = self.numbers(group, (count,))
        return fg.SparseTable(scope, rows, energies, otherwise, **options)

    @staticmethod
    def domain(view: Any) -> Any:
        if view.states is not None:
            return tuple(view.states)
        counts = set(np.asarray(view.n_states).ravel().tolist())
        return counts.pop() if len(counts) == 1 else None

    @staticmethod
    def numeric(view: Any, whole: bool) -> bool:
        """Can a Product read its states, and does it then keep integer energies integers?"""
        kinds = (int,) if whole else (int, float)
        return view.states is None or all(isinstance(s, kinds) and not isinstance(s, bool) for s in view.states)

    def separate(self, arity: int) -> tuple[int, ...] | None:
        """Cells of different trees: a factor over them closes no loop."""
        roots: dict[int, list[int]] = {}
        for cell in range(len(self.cells)):
            roots.setdefault(self.root(cell), []).append(cell)
        if len(roots) < arity:
            return None
        return tuple(self.dice.pick(roots[r]) for r in self.dice.some(sorted(roots), arity))

    def add_chain(self) -> None:
        """`[y[1:], y[:-1]]` of one array, where nothing joins it yet: the idiom of every sequence model."""
        chains = [v for v in self.variables if v.ndim == 1 and v.size > 0]
        if not chains:
            return
        y = self.dice.pick(chains)
        pair = [y[1:], y[:-1]] if self.dice.chance(50) else [y[:-1], y[1:]]
        first = next(i for i, (v, flat, _) in enumerate(self.cells) if v is y and flat == 0)
        for i in range(y.size - 1):
            if self.root(first + i) == self.root(first + i + 1):
                return
        for i in range(y.size - 1):
            self.join((first + i, first + i + 1))
        states = [widest(v) for v in pair]
        self.structure(pair, {}, (y.size - 1,), states)

    def add_factors(self, forest: bool, count: int) -> None:
        dice = self.dice
        if dice.chance(40):
            self.add_chain()
        for _ in range(count):
            act = dice.pick(["tree"] * 4 + ACTS + ["edges", "grid"] * (not forest))
            if act in ("tree", "edges"):
                edges = []
                arity = dice.pick([2, 2, 2, 3])
                for _ in range(dice.integer(2, 5) if act == "edges" else 1):
                    if forest:
                        edge = self.separate(arity)
                    else:
                        edge = (
                            tuple(dice.some(list(range(len(self.cells))), arity)) if len(self.cells) >= arity else None
                        )
                    if edge is not None:
                        self.join(edge)
                        edges.append(edge)
                self.declare(edges)
            elif act == "unary array" and self.variables:
                y = dice.pick(self.variables)
                self.structure([y], {}, y.shape, [widest(y)])
            elif act == "unary" and self.cells:
                cell = dice.integer(0, len(self.cells) - 1)
                bare = self.view(cell)
                table = self.array((self.states(cell),))
                self.factors.append(fg.Table(bare if dice.chance(30) else [bare], energies=table))
            elif act == "equal" and self.scopes:
                scope = dice.pick(self.scopes)
                self.declare([tuple(dice.some(list(scope), len(scope)))])
            elif act == "nested" and self.scopes:
                scope = dice.pick(self.scopes)
                self.declare([tuple(dice.some(list(scope), dice.integer(1, len(scope))))])
            elif act == "twice" and self.scopes:
                scope = dice.pick(self.scopes)
                self.declare([(*scope[:3], dice.pick(scope))])
            elif act == "ragged" and self.variables:
                self.add_ragged(dice.pick(self.variables))
            elif act == "constant":
                self.factors.append(fg.Table([], energies=self.array((), dice.chance(90))))
            elif act == "empty" and self.variables:
                y = dice.pick(self.variables).ravel()[:0]
                k = widest(y)
                self.factors.append(fg.Table([y, y], energies=self.array((k, k))))
            elif act == "grid" and not forest:
                planes = [v for v in self.variables if v.ndim == 2 and v.size]
                if planes:
                    y = dice.pick(planes)
                    for a, b in ((y[1:], y[:-1]), (y[:, 1:], y[:, :-1])):
                        self.structure([a, b], {}, a.shape, [widest(v) for v in (a, b)])

    def add_ragged(self, variable: Any) -> None:
        """`members=`: scopes of several sizes inside one array, as lists or as rows of a sparse matrix."""
        dice = self.dice
        inside = [s for s in self.scopes if all(self.cells[c][0] is variable for c in s)]
        inside += [()]  # a factor over nothing: a constant
        inside += [(c,) for c in range(len(self.cells)) if self.cells[c][0] is variable]
        chosen = [dice.pick(inside) for _ in range(dice.integer(0, 4))] if inside else []
        as_matrix = bool(chosen) and dice.chance(30)
        if as_matrix:  # a stored row is ascending and has no repeated column
            chosen = [tuple(sorted(set(scope))) for scope in chosen]
        tables = [self.array(tuple(self.states(c) for c in scope)) for scope in chosen]
        rows = [[self.cells[c][1] for c in scope] for scope in chosen]
        members: Any = rows
        if as_matrix:
            start = np.cumsum([0] + [len(row) for row in rows])
            columns = np.concatenate([np.array(row, int) for row in rows])
            members = scipy.sparse.csr_matrix((np.ones(len(columns)), columns, start), shape=(len(rows), variable.size))
        self.factors.append(fg.Table(variable.ravel(), members=members, energies=tables))

    # given

    def label(self, cell: int, state: int) -> Any:
        states = self.cells[cell][0].states
        return state if states is None else states[state]

    def add_given(self, share: int) -> None:
        """Observed arrays whole, some of the others: holes as masked, None or -1, by name, array or view."""
        dice = self.dice
        for variable in self.variables:
            cells = [c for c in range(len(self.cells)) if self.cells[c][0] is variable]
            if variable.role != "observed" and not dice.chance(share):
                continue
            whole = variable.role == "observed" or dice.chance(30)
            rng = dice.generator()
            chosen = [int(rng.integers(0, self.states(c))) for c in cells]
            held = [whole or bool(rng.random() < 0.4) for _ in cells]
            labels = [self.label(c, s) for c, s in zip(cells, chosen, strict=True)]
            key = dice.pick([variable, variable.name])
            if all(held):
                value = np.empty(len(labels), object)
                value[:] = labels
                listed = value.reshape(variable.shape).tolist()
                typed = np.array(listed) if labels else np.zeros(variable.shape, int)
                if variable.states is not None and not labels:
                    typed = np.array(listed, dtype=object).reshape(variable.shape)
                self.given[key] = dice.pick([listed, typed]) if variable.shape else listed
            else:
                form = dice.pick(["masked", "holes", "views"])
                if form == "views" or not variable.shape:
                    for c, keep, label in zip(cells, held, labels, strict=True):
                        if keep:
                            self.given[self.view(c)] = label
                elif form == "masked":
                    data = np.array(labels).reshape(variable.shape)
                    self.given[key] = np.ma.masked_array(data, mask=~np.array(held).reshape(variable.shape))
                else:
                    hole = None if variable.states is not None else -1
                    value = np.empty(len(labels), object)
                    value[:] = [label if keep else hole for label, keep in zip(labels, held, strict=True)]
                    listed = value.reshape(variable.shape).tolist()
                    self.given[key] = listed if variable.states is not None else np.array(listed, int)
            for c, keep, state in zip(cells, held, chosen, strict=True):
                if keep:
                    self.known[variable.name, self.cells[c][1]] = state


def widest(view: Any) -> int:
    """States of a table's axis over a view: its largest cell's; of an empty view, its array's."""
    counts = view.n_states if view.size else view.declared.n_states
    return int(np.max(counts, initial=0))


ACTS = ["edges", "unary array", "unary", "equal", "nested", "twice", "empty", "grid", "ragged", "constant"]
SOURCES = ["array"] * 6 + ["parameter", "view", "linear", "computed", "observed real"]


def draw_case(
    dice: Dice,
    *,
    forest: bool,
    kinds: list[str] | None = None,
    limit: int = 1100,
    constants_only: bool = False,
    given: int = 30,
    prefix: str = "",
) -> Case:
    """Draw a case of at most `limit` configurations; `given`: percent partly given; `prefix`: of parameters."""
    kind = dice.pick(kinds or KINDS)
    drawing = Drawing(dice, kind, limit, constants_only, prefix)
    drawing.add_variables()
    drawing.add_factors(forest, dice.pick([0, 1, 2, 3, 4, 5, 6, 7, 8, 10]))
    graph = fg.FactorGraph(drawing.factors, variables=drawing.variables)
    drawing.add_given(given)
    integral = kind in ("integer", "integer forbidden", "tied")
    return Case(graph, drawing.given, drawing.known, drawing.parameters, drawing.values, kind, integral)


def case_of(seed: int, **options: Any) -> Case:
    """The plain numpy draw: a case from a seed."""
    rng = np.random.default_rng(seed)
    return draw_case(Dice(lambda low, high: int(rng.integers(low, high + 1))), **options)


@st.composite
def cases(draw: Any, **options: Any) -> Case:
    """The hypothesis strategy: the same drawing, every decision an integer that shrinks."""
    return draw_case(Dice(lambda low, high: draw(st.integers(low, high))), **options)
