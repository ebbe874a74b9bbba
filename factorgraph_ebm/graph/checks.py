"""What declarations check before anything is built, and how they say what is wrong."""

import numpy as np

from factorgraph_ebm.errors import FactorError, ScopeError, VariableError
from factorgraph_ebm.graph.scope import Ints, Scope, cell_counts
from factorgraph_ebm.graph.variables import Variable


def count(n: int, word: str) -> str:
    """Return "1 factor", "4,096 factors"."""
    return f"{n:,} {word}" if n == 1 else f"{n:,} {word}s"


def check_name(name: str | None) -> str | None:
    """Return the name of a declaration. Raises FactorError if it is not a non-empty string or None."""
    if name is not None and (not isinstance(name, str) or not name):
        raise FactorError(f"the name of a factor must be a non-empty string, not {name!r}.")
    return name


def check_arity(kind: str, scope: Scope, arity: int) -> None:
    """Raise ScopeError unless every factor has `arity` variables, and say what was probably meant (S5)."""
    found = scope.arity
    if isinstance(found, np.ndarray):
        if found.size and not (found == arity).all():
            factor = int(np.argmax(found != arity))
            raise ScopeError(f"{kind} takes {arity} variables; members[{factor}] has {found[factor]}.")
        return
    if found != arity:
        raise ScopeError(f"{kind} takes {arity} variables. {said(kind, scope)}")


def said(kind: str, scope: Scope) -> str:
    """Say what a scope was read as, and how to write the other reading."""
    if isinstance(scope.given, Variable):
        what = scope.given
        arity = scope.arity
        assert isinstance(arity, int)
        if scope.shape == ():
            return (
                f"{kind}({what}) is ONE factor over {count(arity, 'variable')}. "
                f"Write [{what}] for one factor per variable."
            )
        factors = count(scope.size, "factor")
        return f"{kind}({what}, axis={scope.axis}) is {factors} over {count(arity, 'variable')} each."
    n = len(scope.given)
    return (
        f"A list pairs its members elementwise, so this is {count(scope.size, 'factor')} "
        f"over {count(n, 'variable')} each."
    )


def check_many(kind: str, scope: Scope) -> None:
    """Raise ScopeError where a one-member list meets a structure over many variables (S5)."""
    if isinstance(scope.given, Variable) or len(scope.given) != 1 or scope.size <= 1:
        return
    name, axes = scope.given[0].name, scope.given[0].declared.ndim
    one = f"{name}[0] for one factor, or {name} with axis={axes - 1}" if axes > 1 else f"{name} itself for one factor"
    raise ScopeError(
        f"a list pairs its members elementwise, so this is {scope.size:,} factors over 1 variable each. Write {one}."
    )


def check_equal_domains(kind: str, scope: Scope) -> None:
    """Raise VariableError unless the variables of each factor have the same states."""
    first = scope.variables[0]
    for other in scope.variables[1:]:
        if first.states != other.states:
            raise VariableError(
                f"{kind} compares variables of one domain: {first} has {_domain(first)}, {other} has {_domain(other)}."
            )
    if all(isinstance(variable.declared.n_states, int) for variable in scope.variables):
        for other in scope.variables[1:]:
            if first.n_states != other.n_states:
                raise VariableError(
                    f"{kind} compares variables of one domain: {first} has {_domain(first)}, "
                    f"{other} has {_domain(other)}."
                )
        return
    if scope.ragged:
        start, cells = scope.ragged_cells({first.name: 0})
        ragged = cell_counts(first)[cells]
        of = np.repeat(np.arange(scope.size), np.diff(start))
        unlike = np.flatnonzero(ragged != ragged[start[of]])
        if len(unlike):
            factor = int(of[unlike[0]])
            _refuse_domains(kind, scope, factor, ragged[start[factor] : start[factor + 1]])
        return
    counts = scope.state_counts()
    if not scope.size or not len(counts):
        return
    differs = (counts != counts[0]).any(axis=0)
    if differs.any():
        factor = int(np.argmax(differs))
        _refuse_domains(kind, scope, factor, counts[:, factor])


def _refuse_domains(kind: str, scope: Scope, factor: int, counts: Ints) -> None:
    raise VariableError(
        f"{kind} compares variables of one domain: {scope.describe(factor)} have "
        f"{', '.join(str(n) for n in counts)} states."
    )


def _domain(variable: Variable) -> str:
    return f"states {list(variable.states)}" if variable.states else f"{variable.n_states} states"
