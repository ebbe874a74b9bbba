"""FactorGraph: an energy that is a sum of factors, immutable, declared in arrays and validated once."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from factorgraph_ebm.errors import FactorError, ParameterError, VariableError, did_you_mean
from factorgraph_ebm.graph.declaration import Factor
from factorgraph_ebm.graph.parameters import Parameter, read_parameters
from factorgraph_ebm.graph.parametrisation import Floats
from factorgraph_ebm.graph.scope import Ints, cell_counts
from factorgraph_ebm.graph.variables import Variable


class FactorGraph:
    """A sum of factors over named variables.

    Parameters
    ----------
    factors : declarations (Table, Potts, Product, ...); a graph is edited by building another,
        `FactorGraph([*graph.factors, new])`
    variables : further variables that no factor touches; a list of all variables also fixes their order

    Attributes
    ----------
    factors : tuple of the declarations
    variables, parameters : mappings of name to declared variable, parameter; in order of appearance
    keys : the key of each declaration: its name, else its position
    cell_offset : name -> first cell, for discrete variables; `n_cells` in all
    reals : names of the real variables
    key : hashable structure of the whole declaration, without any number

    Raises
    ------
    VariableError, ParameterError : one name with two declarations.
    FactorError : two factors of one name, or something that is not a factor.

    Examples
    --------
    >>> import factorgraph_ebm as fg
    >>> a, b = fg.output("a", states=["cold", "hot"]), fg.output("b", states=["off", "on"])
    >>> graph = fg.FactorGraph([
    ...     fg.Table([a], energies=[0.0, 1.0], name="prior"),
    ...     fg.Table([a, b], energies=[[0, 2], [2, 0]], name="agree"),
    ... ])
    >>> print(graph)
    prior  Table(a) 1 factor, table 2
    agree  Table(a, b) 1 factor, table 2 x 2
    """

    def __init__(self, factors: Iterable[Factor], *, variables: Sequence[Variable] = ()) -> None:
        if isinstance(factors, Factor):
            raise FactorError("FactorGraph takes a list of factors. Write FactorGraph([factor]).")
        if isinstance(variables, Variable):
            variables = [variables]
        self.factors: tuple[Factor, ...] = tuple(factors)
        found: dict[str, Variable] = {}
        parameters: dict[str, Parameter] = {}
        keys: list[str | int] = []
        named: dict[str, int] = {}
        for position, factor in enumerate(self.factors):
            if not isinstance(factor, Factor):
                raise FactorError(f"element {position} of the factors is a {type(factor).__name__}, not a factor.")
            for variable in factor.scope.variables:
                _declare(found, variable)
            for slot in factor.slots:
                for variable in slot.source.reals:
                    _declare(found, variable)
                for parameter in slot.source.parameters:
                    _tie(parameters, parameter)
            if factor.name is None:
                keys.append(position)
                continue
            if factor.name in named:
                raise FactorError(
                    f'two factors are named "{factor.name}": declarations {named[factor.name]} and {position}. '
                    "A name is a key, so give each its own."
                )
            named[factor.name] = position
            keys.append(factor.name)
        for variable in variables:
            _declare(found, variable.declared)
        listed = {variable.name: found[variable.name] for variable in variables}
        if len(listed) == len(found):
            # A file numbers its variables, whichever its first factor touches.
            found = listed
        self.keys: tuple[str | int, ...] = tuple(keys)
        self.variables: Mapping[str, Variable] = MappingProxyType(found)
        self.parameters: Mapping[str, Parameter] = MappingProxyType(parameters)

    def __reduce__(self) -> tuple[object, ...]:
        # For copies and other processes; a mappingproxy cannot go by itself.
        return _rebuild, (self.factors, tuple(self.variables.values()))

    def __getitem__(self, name: str) -> Variable:
        """Return the declared variable of this name."""
        try:
            return self.variables[name]
        except KeyError:
            raise VariableError(
                f'there is no variable "{name}" in this graph.{did_you_mean(name, self.variables)}'
            ) from None

    def __contains__(self, name: object) -> bool:
        return name in self.variables

    def factor(self, key: str | int) -> Factor:
        """Return the declaration of this key: its name, or its position."""
        if key in self.keys:
            return self.factors[self.keys.index(key)]
        if isinstance(key, int) and -len(self.factors) <= key < len(self.factors):
            return self.factors[key]
        names = [name for name in self.keys if isinstance(name, str)]
        raise FactorError(f'there is no factor "{key}" in this graph.{did_you_mean(key, names)}')

    @cached_property
    def cell_offset(self) -> Mapping[str, int]:
        offsets: dict[str, int] = {}
        total = 0
        for name, variable in self.variables.items():
            if not variable.is_real:
                offsets[name] = total
                total += variable.size
        return MappingProxyType(offsets)

    @cached_property
    def n_cells(self) -> int:
        """Number of discrete cells."""
        return sum(variable.size for variable in self.variables.values() if not variable.is_real)

    @cached_property
    def cell_states(self) -> Ints:
        """Number of states of each discrete cell, (n_cells,) int64, read-only."""
        parts = [cell_counts(self.variables[name]) for name in self.cell_offset]
        states = np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)
        states.flags.writeable = False
        return states

    @cached_property
    def reals(self) -> tuple[str, ...]:
        return tuple(name for name, variable in self.variables.items() if variable.is_real)

    @cached_property
    def key(self) -> Hashable:
        return (
            tuple(factor.key for factor in self.factors),
            tuple(variable.key for variable in self.variables.values()),
        )

    def describe_factor(self, position: int, element: int) -> str:
        """Name one factor of a declaration: 'factor "BIO" [4] over tag[4], tag[5]'."""
        factor, key = self.factors[position], self.keys[position]
        what = f'factor "{key}"' if isinstance(key, str) else f"factor {key} ({factor.kind})"
        if factor.shape:
            place = np.unravel_index(element, factor.shape)
            what += f" [{', '.join(str(i) for i in place)}]"
        return f"{what} over {factor.scope.describe(element)}"

    def __str__(self) -> str:
        if not self.factors:
            return f"no factors over {', '.join(self.variables) or 'no variables'}"
        width = max(len(str(key)) for key in self.keys)
        return "\n".join(f"{key!s:<{width}}  {factor}" for key, factor in zip(self.keys, self.factors, strict=True))

    def __repr__(self) -> str:
        n_factors = sum(factor.size for factor in self.factors)
        return (
            f"<FactorGraph: {self.n_cells:,} variables in {', '.join(self.variables) or 'no array'}; "
            f"{n_factors:,} factors in {len(self.factors)} declarations>"
        )


def _rebuild(factors: tuple[Factor, ...], variables: tuple[Variable, ...]) -> FactorGraph:
    return FactorGraph(factors, variables=variables)


def parameter_values(graph: FactorGraph, parameters: Mapping[str, npt.ArrayLike] | None = None) -> dict[str, Floats]:
    """Return the value of every parameter of a graph: the given one, else `initial` (rule P1).

    Raises
    ------
    ParameterError : no value, a value of another shape, an unknown name.
    """
    return read_parameters(graph.parameters, parameters)


def _declare(found: dict[str, Variable], variable: Variable) -> None:
    known = found.setdefault(variable.name, variable)
    if known is not variable and known.key != variable.key:
        raise VariableError(
            f'variable "{variable.name}" is declared twice and differently: {known!r} and {variable!r}.'
        )


def _tie(found: dict[str, Parameter], parameter: Parameter) -> None:
    known = found.setdefault(parameter.name, parameter)
    if known is not parameter and not known.declared_like(parameter):
        raise ParameterError(
            f'parameter "{parameter.name}" is declared twice and differently '
            f"(shapes {known.shape} and {parameter.shape}; initial, frozen and bounds must agree too)."
        )
