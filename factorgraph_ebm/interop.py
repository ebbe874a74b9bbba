"""networkx: a factor graph as a bipartite graph of variables and factors, and back.

    variable node   "tag[3]"            bipartite=0, variable, cell, shape, role, n_states, states
    factor node     ("factor", key, i)  bipartite=1, key, name, kind, index, shape, scope (nodes in order), table
    edge                                slots: the positions of the variable in the scope

Energies are in nats. A structure becomes its table.
"""

import itertools
import math
from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from factorgraph_ebm.errors import FactorGraphError, ScopeError, VariableError
from factorgraph_ebm.factors import Table
from factorgraph_ebm.graph.graph import FactorGraph, parameter_values
from factorgraph_ebm.graph.variables import Variable, latent, observed, output

if TYPE_CHECKING:
    import networkx as nx

_DECLARE = {"observed": observed, "output": output, "latent": latent}
_ENTRIES = 1 << 27
"entries of all tables together above which `to_networkx` refuses: 1 GiB"


def to_networkx(graph: FactorGraph, parameters: Mapping[str, npt.ArrayLike] | None = None) -> "nx.Graph[Any]":
    """Return the bipartite graph of variables and factors, one node each, with names, roles and tables.

    Parameters
    ----------
    graph : FactorGraph
    parameters : values of Parameters without `initial`, and of observed real variables

    Raises
    ------
    ParameterError : a parameter has no value.
    FactorGraphError : the tables together would not fit in 1 GiB.

    Examples
    --------
    >>> import factorgraph_ebm as fg
    >>> y = fg.output("y", shape=3, n_states=2)
    >>> net = to_networkx(fg.FactorGraph([fg.Potts([y[1:], y[:-1]], penalty=1.0, name="smooth")]))
    >>> sorted(net["y[1]"])
    [('factor', 'smooth', 0), ('factor', 'smooth', 1)]
    """
    import networkx as nx

    given = dict(parameters or {})
    reals = {name: given.pop(name) for name in graph.reals if name in given}
    values: dict[str, Any] = {**parameter_values(graph, given), **reals}
    entries = sum(math.prod(f.state_shape) * f.size for f in graph.factors if f.state_shape is not None)
    if entries > _ENTRIES:
        many = f"{entries:,} entries ({8 * entries:,} bytes)" if entries < 10**18 else "countless entries"
        raise FactorGraphError(f"the tables of this graph have {many}, which networkx would hold.")
    net: nx.Graph[Any] = nx.Graph()
    nodes: list[str] = []
    for name, variable in graph.variables.items():
        if variable.is_real:
            continue
        if not variable.size:
            # An array without cells has no node, but factors over nothing may be declared over it.
            net.graph.setdefault("empty", {})[name] = (variable.role, variable.shape, variable.states)
        counts = graph.cell_states[graph.cell_offset[name] :][: variable.size].tolist()
        places = itertools.product(*map(range, variable.shape))
        for cell, place in enumerate(places):
            node = variable.cell_name(cell)
            nodes.append(node)
            net.add_node(
                node,
                bipartite=0,
                variable=name,
                cell=place,
                shape=variable.shape,
                role=variable.role,
                n_states=counts[cell],
                states=variable.states,
            )
    for key, factor in zip(graph.keys, graph.factors, strict=True):
        tables = factor.table(values)
        if factor.state_shape is None:
            start, flat = factor.scope.ragged_cells(graph.cell_offset)
            scopes = [flat[a:b].tolist() for a, b in itertools.pairwise(start.tolist())]
        else:
            scopes = factor.scope.columns(graph.cell_offset).T.tolist()
            tables = tables.reshape(factor.size, *factor.state_shape)
        for i, (scope, table) in enumerate(zip(scopes, tables, strict=True)):
            names = [nodes[cell] for cell in scope]
            # A dense array over cells of different cardinality is padded; the node of one factor is not.
            table = table[tuple(slice(n) for n in graph.cell_states[scope].tolist())]
            node_of_factor = ("factor", key, i)
            net.add_node(
                node_of_factor,
                bipartite=1,
                key=key,
                name=factor.name,
                kind=factor.kind,
                index=i,
                shape=factor.shape,
                members=factor.scope.variables[0].name if factor.state_shape is None else None,
                scope=names,
                table=table,
            )
            for slot, name in enumerate(names):
                if net.has_edge(name, node_of_factor):
                    net.edges[name, node_of_factor]["slots"] += (slot,)
                else:
                    net.add_edge(name, node_of_factor, slots=(slot,))
    return net


def from_networkx(net: "nx.Graph[Any]") -> FactorGraph:
    """Return the factor graph of a bipartite networkx graph.

    Variable nodes have `bipartite=0` and `n_states` (or `states`), and may have `role` (default "output"); factor
    nodes have `bipartite=1` and `table`, energies in nats whose axes are `scope` (default: the neighbours, in the
    order in which their edges were added), and may have `name`. What `to_networkx` wrote comes back with its arrays
    and declarations.

    Raises
    ------
    VariableError : a variable node without a domain, or an array with missing cells.
    ScopeError : a factor node without a table, or whose scope is not its neighbours.

    Examples
    --------
    >>> import networkx as nx
    >>> net = nx.Graph()
    >>> net.add_node("rain", bipartite=0, states=["no", "yes"])
    >>> net.add_node("prior", bipartite=1, table=[0.2, 1.6], name="prior")
    >>> net.add_edge("rain", "prior")
    >>> print(from_networkx(net))
    prior  Table(rain) 1 factor, table 2
    """
    sides = {node: data.get("bipartite") for node, data in net.nodes(data=True)}
    strange = next((node for node, side in sides.items() if side not in (0, 1)), None)
    if strange is not None:
        raise VariableError(f"node {strange!r} needs bipartite=0 (a variable) or bipartite=1 (a factor).")
    cell_of = _read_variables(net, [node for node, side in sides.items() if side == 0])
    declared = {cell.name: cell.declared for cell in cell_of.values()}
    for name, (role, shape, states) in net.graph.get("empty", {}).items():
        domain = {"n_states": 1} if states is None else {"states": list(states)}
        declared[name] = _DECLARE[role](name, shape, **domain)
    groups: dict[Hashable, list[tuple[int, list[Variable], Any, dict[str, Any]]]] = {}
    for position, node in enumerate(node for node, side in sides.items() if side == 1):
        data = net.nodes[node]
        if "table" not in data:
            raise ScopeError(f"factor node {node!r} needs table=, its energies in nats.")
        scope = list(data.get("scope", net[node]))
        if set(scope) != set(net[node]):
            raise ScopeError(f"the scope of factor node {node!r} is {scope}, its neighbours are {list(net[node])}.")
        if any(sides[each] != 0 for each in scope):
            raise ScopeError(f"factor node {node!r} has a factor among its neighbours.")
        group = ("key", data["key"]) if "key" in data else ("node", position)
        member = (data.get("index", 0), [cell_of[each] for each in scope], data["table"], data)
        groups.setdefault(group, []).append(member)
    factors = []
    for members in groups.values():
        members.sort(key=lambda member: member[0])
        factors.append(_join(members, declared))
    return FactorGraph(factors, variables=list(declared.values()))


def _read_variables(net: "nx.Graph[Any]", nodes: list[Any]) -> dict[Any, Variable]:
    arrays: dict[str, list[tuple[Any, dict[str, Any]]]] = {}
    for node in nodes:
        data = net.nodes[node]
        arrays.setdefault(data.get("variable", str(node)), []).append((node, data))
    cell_of: dict[Any, Variable] = {}
    for name, cells in arrays.items():
        first = cells[0][1]
        shape = tuple(first.get("shape", ()))
        role = first.get("role", "output")
        if role not in _DECLARE:
            raise VariableError(f'node {cells[0][0]!r} has role {role!r}. Roles are "observed", "output", "latent".')
        if len(cells) != math.prod(shape):
            raise VariableError(f'variable "{name}" of shape {shape} has {len(cells)} nodes.')
        if first.get("states") is not None:
            variable = _DECLARE[role](name, shape, states=list(first["states"]))
        elif "n_states" in first:
            counts = np.zeros(shape, dtype=np.int64)
            for _, data in cells:
                counts[tuple(data.get("cell", ()))] = data["n_states"]
            variable = _DECLARE[role](name, shape, n_states=counts)
        else:
            raise VariableError(f"variable node {cells[0][0]!r} needs n_states= or states=.")
        for node, data in cells:
            cell_of[node] = variable[tuple(data.get("cell", ()))]
    return cell_of


def _join(members: list[tuple[int, list[Variable], Any, dict[str, Any]]], declared: dict[str, Variable]) -> Table:
    """Return one declaration of factors that were one before; its tables are stored once where all are equal."""
    data = members[0][3]
    name = data.get("name")
    shape = tuple(data.get("shape", ()))
    tables = [np.asarray(table, dtype=np.float64) for _, _, table, _ in members]
    if data.get("members") is not None:
        listed = [[int(cell.cells) for cell in scope] for _, scope, _, _ in members]
        return Table(declared[data["members"]].ravel(), tables, members=listed, name=name)
    slots = zip(*(scope for _, scope, _, _ in members), strict=True)
    scope = []
    for cells in slots:
        picked = np.array([int(cell.cells) for cell in cells], dtype=np.intp).reshape(shape)
        scope.append(cells[0].declared.ravel()[picked])
    if all(np.array_equal(table, tables[0]) for table in tables):
        return Table(scope, tables[0], name=name)
    widest = tuple(np.max([table.shape for table in tables], axis=0).tolist())
    stacked = np.zeros((len(tables), *widest))
    for row, table in zip(stacked, tables, strict=True):
        row[tuple(slice(n) for n in table.shape)] = table
    return Table(scope, stacked.reshape(*shape, *widest), name=name)
