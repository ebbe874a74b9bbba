"""Union: several graphs side by side in one, variables and factors renamed, parameters shared."""

from collections.abc import Mapping, Sequence

from factorgraph_ebm.errors import FactorError
from factorgraph_ebm.graph.graph import FactorGraph


def union(graphs: Mapping[str, FactorGraph] | Sequence[FactorGraph]) -> FactorGraph:
    """Return one graph with the parts of many, named `part/name`.

    For building a model of parts, not for batching: verbs take a list of graphs for that. Parameters keep their
    names, which ties them.

    Parameters
    ----------
    graphs : name -> graph; a list names its graphs "0", "1", ...

    Raises
    ------
    FactorError : a part is not a graph.
    ParameterError : two parts declare one parameter differently.

    Examples
    --------
    >>> import factorgraph_ebm as fg
    >>> y = fg.output("y", n_states=2)
    >>> graph = fg.FactorGraph([fg.Table([y], energies=[0.0, 1.0], name="prior")])
    >>> pair = fg.union({"left": graph, "right": graph})
    >>> list(pair.variables), pair.keys
    (['left/y', 'right/y'], ('left/prior', 'right/prior'))
    """
    parts = graphs if isinstance(graphs, Mapping) else {str(i): graph for i, graph in enumerate(graphs)}
    factors, variables = [], []
    for part, graph in parts.items():
        if not isinstance(graph, FactorGraph):
            raise FactorError(f'union takes graphs; "{part}" is a {type(graph).__name__}.')

        def inside(name: str, part: str = part) -> str:
            return f"{part}/{name}"

        factors += [
            factor.renamed(inside, inside(str(key))) for key, factor in zip(graph.keys, graph.factors, strict=True)
        ]
        variables += [variable.renamed(inside(name)) for name, variable in graph.variables.items()]
    return FactorGraph(factors, variables=variables)
