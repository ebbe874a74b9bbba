"""AtMostOne: no two variables may be on.

    E = 0 if the number on is at most 1, else +inf
"""

from factorgraph_ebm.factors.logic import Count


class AtMostOne(Count):
    """At most one of the variables is on: E = 0, else +inf.

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
    >>> columns = AtMostOne(match, axis=0)
    >>> columns.size, columns.arity, AtMostOne(match[:2, 0]).table().tolist()
    (1000, 3, [[0.0, 0.0], [0.0, inf]])
    """

    __slots__ = ()

    kind = "AtMostOne"
    allowed = (True, True, False)
