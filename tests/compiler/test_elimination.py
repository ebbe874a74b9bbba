"""Orders of elimination: costs against elimination with sets, known treewidths, published networks."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest
from conftest import DATA
from hypothesis import given
from hypothesis import strategies as st
from test_references import MODELS, evidence_of

import factorgraph_ebm as fg
from factorgraph_ebm.compiler import elimination
from factorgraph_ebm.compiler.elimination import CHEAP, FAR, Known, find_order, known_order
from factorgraph_ebm.compiler.parts import Sample
from factorgraph_ebm.compiler.union import compile_union
from factorgraph_ebm.inference.tables import run_of, scope_of


def arrays_of(scopes):
    start = np.concatenate([[0], np.cumsum([len(s) for s in scopes])]).astype(np.int64)
    return start, np.array([v for s in scopes for v in s], np.int64)


def eliminate(scopes, states, order):
    """Variable -> entries of its bucket, by sets."""
    neighbours = {v: set() for v in range(len(states))}
    for scope in scopes:
        for a, b in itertools.permutations(set(scope), 2):
            neighbours[a].add(b)
    entries = {}
    for v in order:
        around = neighbours.pop(v)
        entries[v] = math.prod((states[u] for u in around), start=states[v])
        for u in around:
            neighbours[u] |= around - {u}
            neighbours[u].discard(v)
    return entries


def components_of(scopes, n):
    """Sets of variables, by smallest variable."""
    label = list(range(n))
    for scope in scopes:
        joined = {label[v] for v in scope}
        label = [min(joined) if x in joined else x for x in label]
    return [[v for v in range(n) if label[v] == x] for x in sorted(set(label))]


def check(scopes, states, found, stage=None):
    """Components in order, stages respected, costs as by sets."""
    components = components_of(scopes, len(states))
    order = found.order.tolist()
    cost = eliminate(scopes, states, order)
    assert len(found.start) == len(components) + 1
    for c, members in enumerate(components):
        part = order[found.start[c] : found.start[c + 1]]
        assert sorted(part) == members
        if stage is not None:
            assert [stage[v] for v in part] == sorted(stage[v] for v in members)
        if found.entries[c] == np.inf:
            assert found.width[c] == np.inf
        else:
            assert found.entries[c] == sum(cost[v] for v in part)
            assert found.width[c] == np.log2(float(max(cost[v] for v in part)))


def find(scopes, states, stage=None, **options):
    stage_of = None if stage is None else np.array(stage, np.uint8)
    found = find_order(*arrays_of(scopes), np.array(states, np.int64), stage_of, **options)
    check(scopes, states, found, stage)
    return found


@st.composite
def graphs(draw):
    n = draw(st.integers(0, 14))
    states = draw(st.lists(st.integers(1, 5), min_size=n, max_size=n))
    scope = st.lists(st.integers(0, n - 1), max_size=4) if n else st.just([])
    scopes = draw(st.lists(scope, max_size=24))
    stage = draw(st.none() | st.lists(st.sampled_from([0, 1, 255]), min_size=n, max_size=n))
    return scopes, states, stage


@given(graphs(), st.sampled_from([0.0, 30.0, CHEAP]))
def test_costs_are_those_of_elimination_with_sets(graph, cheap):
    scopes, states, stage = graph
    found = find(scopes, states, stage, cheap=cheap)
    assert np.isfinite(found.entries).all()
    known = known_order(*arrays_of(scopes), np.array(states, np.int64), found.order)
    assert all(np.array_equal(a, b) for a, b in zip(known[:-1], found[:-1]))
    again = find(scopes, states, stage, cheap=cheap)
    assert all(np.array_equal(a, b) for a, b in zip(again, found))


@given(graphs(), st.randoms(use_true_random=False))
def test_a_given_order_is_costed_and_grouped(graph, random):
    scopes, states, _ = graph
    order = list(range(len(states)))
    random.shuffle(order)
    found = known_order(*arrays_of(scopes), np.array(states, np.int64), np.array(order, np.int64))
    check(scopes, states, found)
    for members in components_of(scopes, len(states)):
        assert [v for v in found.order if v in members] == [v for v in order if v in members]


@given(graphs(), st.integers(0, 8))
def test_what_exceeds_the_limit_is_given_up(graph, limit):
    scopes, states, stage = graph
    found = find(scopes, states, stage, limit=2.0**limit)
    assert (found.width[np.isfinite(found.entries)] <= limit).all()
    start, slots = arrays_of(scopes)
    free = known_order(start, slots, np.array(states, np.int64), found.order)
    tight = known_order(start, slots, np.array(states, np.int64), found.order, limit=2.0**limit)
    assert np.array_equal(np.isinf(tight.entries), free.width > limit)
    # No order exists where a factor alone has more entries.
    for c, members in enumerate(components_of(scopes, len(states))):
        own = [math.prod(states[v] for v in set(s)) for s in scopes if s and s[0] in members]
        assert found.entries[c] == np.inf or max(own, default=1) <= 2**limit


@pytest.mark.parametrize("seed", range(20))
def test_larger_graphs_with_unlike_states(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(30, 200))
    scopes = [rng.integers(0, n, rng.integers(2, 4)).tolist() for _ in range(n)]
    states = rng.integers(2, 6, n).tolist()
    stage = (rng.random(n) < 0.5).astype(int).tolist() if seed % 2 else None
    find(scopes, states, stage)


@given(graphs().filter(lambda g: len(g[1]) <= 6 and g[2] is None))
def test_no_order_is_better_than_the_best_of_all(graph):
    scopes, states, _ = graph
    found = find(scopes, states)
    best = min(sum(eliminate(scopes, states, o).values()) for o in itertools.permutations(range(len(states))))
    assert best <= found.entries.sum() <= 2 * best


@pytest.mark.parametrize("reach, arity", [(1, 2), (2, 3), (3, 2), (5, 6)])
def test_chains_of_any_order_are_perfect(reach, arity):
    n = 60
    if arity == 2:
        scopes = [[i, i + j] for i in range(n) for j in range(1, reach + 1) if i + j < n]
    else:
        scopes = [list(range(i, i + arity)) for i in range(n - reach)]
    found = find(scopes, [3] * n)
    assert found.entries == (n - reach) * 3 ** (reach + 1) + sum(3**k for k in range(1, reach + 1))


def test_trees_are_perfect(rng):
    n = 500
    scopes = [[v, int(rng.integers(0, v))] for v in range(1, n)]
    assert find(scopes, [2] * n).entries == 4 * (n - 1) + 2


def test_a_star_of_many_leaves_and_two_hubs(rng):
    n = 20_000
    hubs = np.stack([np.arange(2, n), rng.integers(0, 2, n - 2)], 1)
    found = find_order(*arrays_of([*hubs.tolist(), [0, 1]]), np.full(n, 2))
    assert found.width == 2 and found.entries == 4 * (n - 1) + 2
    # A chain whose variables all see both.
    chain = [[v, v + 1, 0, 1] for v in range(2, n - 1)]
    assert find_order(*arrays_of(chain), np.full(n, 2)).width == 4


@pytest.mark.parametrize("width", [1, 2, 4, 8])
def test_k_trees_are_perfect(rng, width):
    cliques, scopes = [list(range(width))], [list(range(width))]
    n = 120
    for v in range(width, n):
        clique = cliques[int(rng.integers(len(cliques)))]
        scopes += [[v, u] for u in clique]
        cliques += [[v, *(u for u in clique if u != gone)] for gone in clique]
    assert find(scopes, [2] * n).width == width + 1


def grid(height, width):
    v = np.arange(height * width).reshape(height, width)
    pairs = [np.stack([v[:, :-1].ravel(), v[:, 1:].ravel()], 1), np.stack([v[:-1].ravel(), v[1:].ravel()], 1)]
    slots = np.ascontiguousarray(np.concatenate(pairs).ravel())
    return np.arange(0, len(slots) + 1, 2), slots, np.full(height * width, 2)


@pytest.mark.parametrize("height, width", [(2, 9), (3, 7), (4, 4), (5, 8)])
def test_small_grids_reach_their_treewidth(height, width):
    assert find_order(*grid(height, width), cheap=0.0).width == min(height, width) + 1


@pytest.mark.parametrize("n", [1, 2, 7, 20])
def test_complete_graphs_and_cycles(n):
    assert find(list(itertools.combinations(range(n), 2)), [2] * n).width == n
    if n > 3:
        assert find([[i, (i + 1) % n] for i in range(n)], [2] * n).width == 3


def test_a_long_thin_grid_and_a_large_one():
    found = find_order(*grid(4, 2600))
    assert found.width <= 7
    known = known_order(*grid(4, 2600), found.order)
    assert known.entries == found.entries
    for size in (32, 256):
        given_up = find_order(*grid(size, size))
        assert given_up.entries == np.inf
        assert np.array_equal(np.sort(given_up.order), np.arange(size * size))


def test_what_is_easy_beside_what_is_given_up():
    start, slots, states = grid(40, 40)
    slots = np.concatenate([slots, [1600, 1601]])
    stage = np.arange(1602, dtype=np.uint8) % 2
    found = find_order(np.append(start, len(slots)), slots, np.full(1602, 2), stage)
    assert found.entries.tolist() == [np.inf, 6.0] and found.width.tolist() == [np.inf, 2.0]
    assert (np.diff(stage[found.order[:1600]].astype(int)) >= 0).all()


def test_scopes_beyond_any_bucket_are_given_up():
    # Variables of one state: 1 entry, but too many to be one table.
    assert find_order(np.array([0, 3000]), np.arange(3000), np.ones(3000, np.int64)).entries == np.inf
    assert find_order(np.array([0, 3000]), np.zeros(3000, np.int64), np.full(1, 7)).entries == 7
    huge = find_order(np.array([0, 2]), np.arange(2), np.full(2, 2**40), limit=np.inf)
    assert huge.width == 80


def test_copies_of_a_component_are_ordered_alike(rng):
    lengths = rng.choice([30, 33, 35, 40], 400)
    scopes, states, offset = [], [], 0
    for n in lengths:
        scopes += [[offset + i, offset + i + 1, offset + i + 2] for i in range(n - 2)] + [[offset, offset + n - 1]]
        states += [3 + n % 2] * n
        offset += n
    plain = find(scopes, states)
    alone = {n: find([[i, i + 1, i + 2] for i in range(n - 2)] + [[0, n - 1]], [3 + n % 2] * n) for n in set(lengths)}
    for c, n in enumerate(lengths):
        assert np.array_equal(plain.order[plain.start[c] : plain.start[c + 1]] - plain.start[c], alone[n].order)
        assert plain.entries[c] == alone[n].entries[0]
    # The same graphs with variables interleaved, ascending within each: the same orders.
    place = np.argsort(rng.permutation(np.repeat(np.arange(400), lengths)), kind="stable")
    mixed = find([[int(place[v]) for v in s] for s in scopes], np.array(states)[np.argsort(place)].tolist())
    by_first = np.argsort(place[plain.start[:-1]])
    assert np.array_equal(mixed.entries, plain.entries[by_first])
    parts = [place[plain.order[plain.start[c] : plain.start[c + 1]]] for c in by_first]
    assert np.array_equal(mixed.order, np.concatenate(parts))


def test_components_whose_variables_are_not_contiguous():
    # Odd and even numbers: two loops of unlike states.
    scopes = [[i, (i + 2) % 12] for i in range(12)]
    found = find(scopes, [2, 3] * 6)
    assert found.width.tolist() == [3.0, np.log2(27.0)]


def test_almost_equal_components_are_told_apart():
    scopes = [[0, 1], [1, 2], [3, 4], [3, 5], [6, 7], [7, 8], [9, 10, 11]]
    find(scopes, [2, 2, 2, 2, 2, 2, 2, 3, 2, 2, 2, 2], [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0])
    find([[0, 1], [1, 2], [3, 4], [4, 5]], [2] * 6, [1, 0, 0, 0, 0, 1])


def test_more_effort_costs_no_entries():
    entries = [find_order(*grid(8, 8), effort=e, cheap=0.0).entries[0] for e in (0.0, 1.0, 30.0)]
    assert entries == sorted(entries, reverse=True)
    assert find_order(*grid(8, 8), cheap=np.inf).entries[0] >= entries[0]


def test_thin_grids_are_eliminated_from_one_end_to_the_other():
    # The treewidth is 12; the greedy rules alone end at 2^16.
    assert find_order(*grid(12, 120)).width <= 14


def test_what_the_first_order_cannot_do_is_tried_where_there_is_hope():
    scopes = grid(9, 9)
    first = find_order(*scopes, cheap=np.inf)
    best = find_order(*scopes, effort=4.0, cheap=0.0)
    assert best.width[0] < first.width[0]
    limit = 2.0 ** best.width[0]
    for hopeful in (False, True):
        found = find_order(*scopes, effort=4.0, limit=limit, hopeful=hopeful)
        assert np.isfinite(found.entries) and found.width <= best.width
    # Far beyond the limit: no other order is looked for.
    assert 2.0 ** find_order(*grid(30, 30), limit=2.0**60, cheap=np.inf).width[0] > 2.0**24 * FAR
    assert find_order(*grid(30, 30), limit=2.0**24, hopeful=True).entries == np.inf


@pytest.mark.parametrize("seed", [3, 6, 7, 11])
def test_an_order_that_only_just_ends_within_the_limit_is_found(seed):
    """Rules that put off what is beyond the limit find none of these; rules that do not, and are repeated, find all."""
    rng = np.random.default_rng(seed)
    pairs = np.stack([rng.integers(0, 90, 150), rng.integers(0, 90, 150)], 1)
    graph = np.arange(0, 301, 2), pairs.ravel().copy(), rng.integers(2, 5, 90)
    free = find_order(*graph, effort=4.0, cheap=0.0)
    assert free.width.max() < find_order(*graph, effort=0.0, cheap=0.0).width.max()
    limit = 1.0001 * 2.0 ** free.width.max()
    found = find_order(*graph, effort=1.0, cheap=0.0, limit=limit)
    assert 2.0 ** found.width.max() <= limit
    # What no rule ends near is given up at once, and nothing is said of it that is not so.
    assert find_order(*graph, cheap=0.0, limit=limit / 2**12).entries.max() == np.inf


def test_a_known_order_is_taken_where_it_is_cheap_enough(monkeypatch):
    start, slots, states = grid(12, 30)
    searched = find_order(start, slots, states, effort=4.0, cheap=0.0)
    calls = []
    search = elimination.order_components
    monkeypatch.setattr(elimination, "order_components", lambda *a: (calls.append(1), search(*a)))
    again = find_order(start, slots, states, known=lambda: Known(searched.order, searched.entries.sum()))
    assert not calls and again.entries <= searched.entries
    # Three variables are given: without them the order is no wider.
    kept = np.ones(360, bool)
    kept[[40, 100, 200]] = False
    number = np.cumsum(kept) - 1
    pairs = slots.reshape(-1, 2)
    pairs = number[pairs[kept[pairs].all(axis=1)]]
    graph = np.arange(0, 2 * len(pairs) + 1, 2), pairs.ravel(), states[kept]
    left = Known(number[searched.order[kept[searched.order]]], searched.entries.sum())
    found = find_order(*graph, known=lambda: left)
    assert not calls and found.entries.sum() <= searched.entries.sum() and found.width.max() <= searched.width.max()
    check(pairs.tolist(), [2] * 357, found)
    # A poor one is not, and others are searched for.
    assert not found.searched
    monkeypatch.setattr(elimination, "BAND", np.inf)
    poor = Known(np.random.default_rng(0).permutation(360), searched.entries.sum())
    found = find_order(start, slots, states, known=lambda: poor)
    assert calls and found.searched and np.array_equal(found.order, find_order(start, slots, states).order)


@pytest.mark.parametrize("shape", [(12, 30), (15, 15)])
def test_of_a_band_no_other_order_is_looked_for(monkeypatch, shape):
    """Where that of Cuthill and McKee is much cheaper than the first; what a search would find is hardly better."""
    graph = grid(*shape)
    with monkeypatch.context() as patch:
        patch.setattr(elimination, "BAND", np.inf)
        searched = find_order(*graph)
    monkeypatch.setattr(elimination, "order_components", lambda *a: pytest.fail("it was searched for"))
    found = find_order(*graph)
    assert found.searched and found.entries[0] <= 1.5 * searched.entries[0]


def test_the_dear_component_alone_is_ordered_from_end_to_end(monkeypatch):
    start, slots, states = grid(8, 40)
    n = 30_000
    chains = 320 + np.stack([np.arange(n - 1), np.arange(1, n)], 1)[np.arange(n - 1) % 3 > 0]
    slots = np.concatenate([slots, chains.ravel()])
    asked = []
    narrow = elimination._narrow_order
    monkeypatch.setattr(elimination, "_narrow_order", lambda *a: (asked.append(a[2]), narrow(*a))[1])
    found = find_order(np.arange(0, len(slots) + 1, 2), slots, np.full(320 + n, 2))
    assert asked == [320]
    assert found.width[0] == find_order(*grid(8, 40)).width[0] and found.width[1:].max() == 2


def test_a_hub_of_many_loops():
    # A wheel: the hub is read again with each of the rim, so the first order gives up on a large one.
    for n in (300, 20_000):
        rim = np.arange(n)
        spokes, around = np.stack([rim, np.full(n, n)], 1), np.stack([rim, (rim + 1) % n], 1)
        found = find_order(*arrays_of([*spokes.tolist(), *around.tolist()]), np.full(n + 1, 2))
        assert found.width == 4


def free_graph(path):
    """Scopes and states of a model under its evidence, as algorithms see them."""
    graph, evidence = fg.read(path), evidence_of(path)
    known = np.zeros(graph.n_cells, bool)
    known[list(evidence)] = True
    union = compile_union([Sample(graph, known, None)])
    compiled = union.compiled
    runs = [scope_of(compiled, run_of(compiled, r)) for r in range(len(union.layout.kinds))]
    return [s for run in runs for s in run.T.tolist()], np.diff(compiled.variable_start.astype(np.int64))


def width_said(path):
    for folder in path.parents:
        if (folder / "reference.json").exists():
            table = json.loads((folder / "reference.json").read_text())
            name = path.name.removesuffix(".gz")
            entry = table.get(name) or table.get(name.removesuffix(".uai")) or {}
            return entry.get("log2_largest_clique_upper_bound", entry.get("log2_largest_clique"))
    return None


@pytest.mark.skipif(not MODELS, reason=f"no benchmark data at {DATA}")
@pytest.mark.parametrize("path", MODELS, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_published_networks_are_no_wider_than_said(path):
    said = width_said(path)
    if said is None:  # as wide as docs/exact_answers.md says
        said = 32.0 if path.parent.name == "uai_pr" else 28.0
    scopes, states = free_graph(path)
    # Entries are minimised, not the width: some effort more than the default finds both on every small network.
    effort = 4.0 if said < 20 else 1.0
    found = find_order(*arrays_of(scopes), states, limit=2.0 ** max(28.0, said), effort=effort, cheap=0.0)
    check(scopes, states.tolist(), found)
    assert found.width.max() <= said + 0.051  # printed to one digit
