"""The errors and warnings of the library, one tree.

    FactorGraphError (ValueError)
    |-- VariableError         two domains, a name declared twice, an impossible state list
    |-- ScopeError            a scope of the wrong form or arity, shapes that do not broadcast
    |-- FactorError           numbers of the wrong shape, NaN, -inf, rows that do not sum to 1
    |-- ParameterError        no value, a value of the wrong shape, two declarations of one name
    |-- EvidenceError         unknown name or label, state out of range, overlap, X missing
    |-- MethodError           unknown method or option, a method that cannot answer
    |   `-- WidthTooLargeError    exact elimination would not fit
    |-- FormatError           a malformed file
    `-- InfeasibleError       every assignment is forbidden

    ConvergenceWarning (UserWarning)
    CollapseWarning (UserWarning)

Every message says what was wrong, where (variable, cell, factor key), and what to write instead.
"""

import difflib
from collections.abc import Iterable


class FactorGraphError(ValueError):
    """Root of every error this library raises on purpose."""


class VariableError(FactorGraphError):
    """A variable is declared wrongly, or one name stands for two declarations."""


class ScopeError(FactorGraphError):
    """A scope has the wrong form or arity, or its members do not broadcast."""


class FactorError(FactorGraphError):
    """The numbers of a factor have the wrong shape, or are NaN or -inf."""


class ParameterError(FactorGraphError):
    """A parameter has no value, a value of the wrong shape, or two declarations."""


class EvidenceError(FactorGraphError):
    """What was given does not fit the graph, or something that must be given is not."""


class MethodError(FactorGraphError):
    """A method or an option is unknown, or the method cannot answer this question."""


class WidthTooLargeError(MethodError):
    """Exact elimination needs a clique that would not fit in memory."""


class FormatError(FactorGraphError):
    """A file is malformed; the message names the file, the line and the token."""


class InfeasibleError(FactorGraphError):
    """Every assignment of the graph is forbidden, so no answer can be read."""


class ConvergenceWarning(UserWarning):
    """An iterative method stopped before it converged."""


class CollapseWarning(UserWarning):
    """A model learned to give right and wrong answers the same energy."""


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown name: the nearest known one, else the whole list.

    Examples
    --------
    >>> did_you_mean("tags", ["tag", "word"])
    ' Did you mean "tag"?'
    >>> did_you_mean("q", ["tag", "word"])
    ' Known: "tag", "word".'
    """
    names = list(known)
    near = difflib.get_close_matches(str(name), names, n=1)
    if near:
        return f' Did you mean "{near[0]}"?'
    if not names:
        return " There are none."
    shown = ", ".join(f'"{known_name}"' for known_name in names[:10])
    return f" Known: {shown}{', ...' if len(names) > 10 else ''}."
