"""ExactlyOne: one variable is on, and no other.

    E = 0 if the number on is 1, else +inf
"""

from factorgraph_ebm.factors.logic import Count


class ExactlyOne(Count):
    """Exactly one of the variables is on: E = 0, else +inf.

    Parameters
    ----------
    scope : a list of variables, an array with `axis`, or an array with `members`;
        all have two states, of which state 1 is on
    axis, members, name : as in `Table`

    Raises
    ------
    ScopeError : a list of one array, which would be factors over one variable each; or another form.
    VariableError : a variable with more or fewer than two states.

    Examples
    --------
    >>> import factorgraph_ebm as fg
    >>> match = fg.output("match", shape=(3, 1000), n_states=2)
    >>> rows = ExactlyOne(match, axis=1)
    >>> rows.size, rows.arity, ExactlyOne(match[:2, 0]).table().tolist()
    (3, 1000, [[inf, 0.0], [0.0, inf]])
    """

    __slots__ = ()

    kind = "ExactlyOne"
    allowed = (False, True, False)
