"""AtLeastOne: a clause, not all variables are off.

    E = 0 if the number on is at least 1, else +inf
"""

from factorgraph_ebm.factors.logic import Count


class AtLeastOne(Count):
    """At least one of the variables is on: E = 0, else +inf.

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
    >>> x = fg.output("x", shape=4, n_states=2)
    >>> clauses = AtLeastOne(x, members=[[0, 1, 3], [2, 3]])
    >>> clauses.size, clauses.table()[1].tolist()
    (2, [[inf, 0.0], [0.0, 0.0]])
    """

    __slots__ = ()

    kind = "AtLeastOne"
    allowed = (False, True, True)
