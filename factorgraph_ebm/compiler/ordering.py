"""The order of variables, and the levels that schedules run by.

*Order*: leaves are peeled first in, first out (a variable in at most one factor that still joins two live variables);
what cannot be peeled follows in declared order. A component is a forest where everything was peeled. Where some
variables are summed and others minimised ("soft" and "hard"), soft ones are peeled before any hard one, so a component
is solved exactly in one sweep where all its soft variables could go first.

*Levels*: last(f) is the variable of factor f that comes last in the order;

    level(f) = max of level(u) over the variables u of f other than last(f)
    level(v) = max of level(g) + 1 over the factors g whose last variable is v, else 0

A forward sweep takes levels upwards: variables of level l send to the factors that they are not last in, then factors
of level l send to their last variable; a backward sweep mirrors it. Each message is sent once in a pair of sweeps. On a
forest one pair is exact; on a grid the levels are its diagonals, the order of sequential message passing by raster.
"""

from __future__ import annotations

from factorgraph_ebm._jit import I8, NOTHING, READ_I8, READ_U1, U1, U4, U8, kernel


@kernel(NOTHING, READ_I8, I8, I8)
def incidence(slot_variable, start, slot):  # type: ignore[no-untyped-def]
    """Slots of each variable, ascending: `slot[start[v]:start[v + 1]]`. `start` (V + 1,) enters as zeros."""
    for s in range(len(slot_variable)):
        start[slot_variable[s] + 1] += 1
    for v in range(len(start) - 1):
        start[v + 1] += start[v]
    for s in range(len(slot_variable)):
        v = slot_variable[s]
        slot[start[v]] = s
        start[v] += 1
    for v in range(len(start) - 1, 0, -1):
        start[v] = start[v - 1]
    start[0] = 0


@kernel(NOTHING, READ_I8, READ_I8, READ_I8, READ_I8, READ_I8, READ_U1, I8, U1, I8, I8)
def order_variables(factor_start, slot_variable, slot_factor, start, slot, soft, order, peeled, remaining, degree):  # type: ignore[no-untyped-def]
    """Write `order` (V,) and `peeled` (V,): 0 no, 1 yes, 2 a soft one peeled after a hard one.

    `remaining` (F,) and `degree` (V,) are working space: live variables of a factor, live factors of a variable.
    """
    n = len(order)
    for f in range(len(factor_start) - 1):
        remaining[f] = factor_start[f + 1] - factor_start[f]
    count = 0
    for v in range(n):
        degree[v] = 0
        for i in range(start[v], start[v + 1]):
            if remaining[slot_factor[slot[i]]] > 1:
                degree[v] += 1
    # Two rounds: soft variables alone, then all. `order` doubles as the queue.
    head = 0
    any_soft = False
    for v in range(n):
        if soft[v] == 1:
            any_soft = True
    for round_ in range(0 if any_soft else 1, 2):
        for v in range(n):
            if peeled[v] == 0 and degree[v] <= 1 and (round_ == 1 or soft[v] == 1):
                peeled[v] = 2 if (round_ == 1 and soft[v] == 1) else 1
                order[count] = v
                count += 1
        while head < count:
            v = order[head]
            head += 1
            for i in range(start[v], start[v + 1]):
                f = slot_factor[slot[i]]
                if remaining[f] <= 1:
                    continue
                remaining[f] -= 1
                if remaining[f] == 1:
                    # One variable is left in it: the factor no longer joins anything.
                    for j in range(factor_start[f], factor_start[f + 1]):
                        u = slot_variable[j]
                        if peeled[u] == 0:
                            degree[u] -= 1
                            if degree[u] <= 1 and (round_ == 1 or soft[u] == 1):
                                peeled[u] = 2 if (round_ == 1 and soft[u] == 1) else 1
                                order[count] = u
                                count += 1
    for v in range(n):
        if peeled[v] == 0:
            order[count] = v
            count += 1


@kernel(NOTHING, READ_I8, READ_I8, I8)
def label_components(factor_start, slot_variable, component):  # type: ignore[no-untyped-def]
    """Union-find: `component[v]` becomes the smallest variable connected to v."""
    for v in range(len(component)):
        component[v] = v
    for f in range(len(factor_start) - 1):
        first = factor_start[f]
        for s in range(first + 1, factor_start[f + 1]):
            a = slot_variable[first]
            b = slot_variable[s]
            while component[a] != a:
                component[a] = component[component[a]]
                a = component[a]
            while component[b] != b:
                component[b] = component[component[b]]
                b = component[b]
            if a < b:
                component[b] = a
            else:
                component[a] = b
    for v in range(len(component)):
        component[v] = component[component[v]]


@kernel(NOTHING, READ_I8, READ_I8, READ_I8, READ_I8, READ_I8, READ_I8, I8, I8, I8)
def assign_levels(factor_start, slot_variable, slot_factor, start, slot, order, variable_level, factor_level, last):  # type: ignore[no-untyped-def]
    """Write the levels, and `last` (F,): the place within its factor of the last variable's slot."""
    place = variable_level  # first the place in the order
    for i in range(len(order)):
        place[order[i]] = i
    for f in range(len(factor_start) - 1):
        best = factor_start[f]
        for s in range(factor_start[f], factor_start[f + 1]):
            if place[slot_variable[s]] > place[slot_variable[best]]:
                best = s
        last[f] = best - factor_start[f]
    for i in range(len(order)):
        v = order[i]
        level = 0
        for j in range(start[v], start[v + 1]):
            f = slot_factor[slot[j]]
            s_last = factor_start[f] + last[f]
            if slot_variable[s_last] != v:
                continue
            highest = 0
            for s in range(factor_start[f], factor_start[f + 1]):
                if s != s_last and variable_level[slot_variable[s]] > highest:
                    highest = variable_level[slot_variable[s]]
            factor_level[f] = highest
            if highest + 1 > level:
                level = highest + 1
        variable_level[v] = level


@kernel(NOTHING, READ_I8, I8, I8)
def counting_order(key, count, order):  # type: ignore[no-untyped-def]
    """Stable order of small non-negative keys. `count` (largest key + 2,) enters as zeros."""
    for i in range(len(key)):
        count[key[i] + 1] += 1
    for k in range(len(count) - 1):
        count[k + 1] += count[k]
    for i in range(len(key)):
        order[count[key[i]]] = i
        count[key[i]] += 1


@kernel(NOTHING, READ_I8, READ_I8, READ_I8, READ_I8, READ_I8, READ_I8, I8)
def find_enclosing(factor_start, slot_variable, slot_factor, start, slot, candidates, enclosing):  # type: ignore[no-untyped-def]
    """`enclosing[f]` becomes a largest factor whose variables include all of f's (f not among them), else -1."""
    for c in range(len(candidates)):
        f = candidates[c]
        size = factor_start[f + 1] - factor_start[f]
        rarest = slot_variable[factor_start[f]]
        for s in range(factor_start[f], factor_start[f + 1]):
            u = slot_variable[s]
            if start[u + 1] - start[u] < start[rarest + 1] - start[rarest]:
                rarest = u
        best = size
        for i in range(start[rarest], start[rarest + 1]):
            g = slot_factor[slot[i]]
            if factor_start[g + 1] - factor_start[g] <= best:
                continue
            inside = True
            for s in range(factor_start[f], factor_start[f + 1]):
                found = False
                for t in range(factor_start[g], factor_start[g + 1]):
                    if slot_variable[t] == slot_variable[s]:
                        found = True
                if not found:
                    inside = False
                    break
            if inside:
                best = factor_start[g + 1] - factor_start[g]
                enclosing[f] = g


@kernel(NOTHING, READ_I8, READ_I8, READ_I8, READ_I8, I8)
def highest_ranks(factor_start, slot_variable, last, rank, highest):  # type: ignore[no-untyped-def]
    """`highest` (F,) becomes the largest rank of a factor's variables other than the last, or of its only one.

    Ranks ascend with chunks and levels, so this order of factors is one by chunk, level and variable.
    """
    for f in range(len(factor_start) - 1):
        first = factor_start[f]
        size = factor_start[f + 1] - first
        best = 0 if size > 1 else rank[slot_variable[first]]
        for s in range(size):
            r = rank[slot_variable[first + s]]
            if s != last[f] and r > best:
                best = r
        highest[f] = best


@kernel(
    NOTHING, READ_I8, READ_I8, READ_I8, READ_I8, READ_I8, READ_I8, READ_I8, READ_I8, READ_I8, READ_I8, READ_I8,
    I8, U4, U4, U4, U8,
)  # fmt: skip
def place_slots(  # type: ignore[no-untyped-def]
    factor_start, slot_variable, start, slot, order, rank, last, position, run, field, field_start,
    working, scope, slot_start, slot_split, slot_message,
):  # fmt: skip
    """Write where every slot lies: `scope`, addressed run by run, and the slots of variables in engine order.

    `position` (F,) is the number of each factor in the engine, `run` (F,) its run; `working` (S,) is working space.
    Of a variable come first the slots of factors whose last variable it is, then the others, each in declared order.
    """
    for f in range(len(factor_start) - 1):
        row = field_start[run[f]]
        size = field[row]
        within = position[f] - field[row + 3]
        first = factor_start[f]
        at = field[row + 2] + within
        for s in range(factor_start[f + 1] - first):
            states = field[row + 8 + 4 * s]
            scope[at + s * size] = rank[slot_variable[first + s]]
            # One look at a scattered place for both: the element of the row, and whether the variable is the last.
            working[first + s] = 2 * (field[row + 10 + 4 * s] + within * states) + (1 if s == last[f] else 0)
    count = 0
    for i in range(len(order)):
        v = order[i]
        slot_start[i] = count
        for j in range(start[v], start[v + 1]):
            message = working[slot[j]]
            if message & 1 == 1:
                slot_message[count] = message >> 1
                count += 1
        slot_split[i] = count
        for j in range(start[v], start[v + 1]):
            message = working[slot[j]]
            if message & 1 == 0:
                slot_message[count] = message >> 1
                count += 1
    slot_start[len(order)] = count
