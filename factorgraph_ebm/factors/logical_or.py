"""Or: an output is on where any input is.

    E = 0 if output = or of the inputs, else +inf
"""

from factorgraph_ebm.factors.logic import Gate


class Or(Gate):
    """The last variable is the or of the others: E = 0 where it is, else +inf.

    Parameters
    ----------
    scope : a list of variables (the last is the output), an array with `axis`, or an array with `members`;
        all have two states, of which state 1 is on
    axis, members, name : as in `Table`

    Raises
    ------
    ScopeError : a list of one array, which would be factors over one variable each; or another form.
    VariableError : a variable with more or fewer than two states.

    Examples
    --------
    >>> import factorgraph_ebm as fg
    >>> a, b, out = (fg.output(name, shape=5, n_states=2) for name in ("a", "b", "out"))
    >>> gates = Or([a, b, out])
    >>> gates.size, gates.table()[0, :, :, 1].tolist()
    (5, [[inf, 0.0], [0.0, 0.0]])
    """

    __slots__ = ()

    kind = "Or"
    watched = 1
