"""BIF, the interchange format of Bayesian networks: named variables, named states, P(child | parents).

    network NAME { }
    variable A { type discrete [ 2 ] { yes, no }; }
    probability ( B | A ) { (yes) 0.9, 0.1;  default 0.5, 0.5; }
    probability ( A ) { table 0.2, 0.8; }

Commas and the bar separate like spaces, names may be quoted, `property` lines are skipped, // and /* */ are
comments. With parents, `table` lists the states of the child slowest and of the last parent fastest. Source: Cozman,
"The interchange format for Bayesian networks" (1998), and the files of the bnlearn repository.
"""

import re
from collections.abc import Callable, Iterator

import numpy as np

from factorgraph_ebm.errors import FormatError
from factorgraph_ebm.factors import Table
from factorgraph_ebm.formats.tables import check_sizes
from factorgraph_ebm.formats.text import F64, PathLike, Words, read_text
from factorgraph_ebm.graph import FactorGraph, Variable, output

_COMMENT = re.compile(r"/\*.*?\*/|(?:(?<=\s)|^)//[^\n]*|(?<=[{};])//[^\n]*", re.DOTALL | re.MULTILINE)
# A name may hold any sign but these: bnlearn has states such as "<5", "12+" and "Asy/Patch".
_WORD = re.compile(r'"[^"\n]*"|[^\s{}()\[\];,|"]+|[{}()\[\];|]')


def read(path: PathLike) -> FactorGraph:
    """Read a Bayesian network (gzip by content).

    Returns
    -------
    FactorGraph : one output variable of shape () for each `variable` block, with its states, in the order of the
        blocks; for each `probability` block one Table over (parents ..., child), named "P(child | parents)",
        in the order of the blocks; energies -log P.

    Raises
    ------
    FormatError : names the file, the line and the word; also a missing row or block.
    OSError : the file cannot be read.

    Examples
    --------
    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "rain.bif")
    >>> with open(path, "w") as file:
    ...     _ = file.write('''network rain { }
    ... variable rain { type discrete [ 2 ] { no, yes }; }
    ... variable wet { type discrete [ 2 ] { no, yes }; }
    ... probability ( rain ) { table 0.5, 0.5; }
    ... probability ( wet | rain ) { (no) 1, 0; (yes) 0.5, 0.5; }''')
    >>> graph = read(path)
    >>> [factor.name for factor in graph.factors]
    ['P(rain)', 'P(wet | rain)']
    >>> graph.factor("P(wet | rain)").table().round(3)
    array([[0.   ,   inf],
           [0.693, 0.693]])
    """
    parser = _Parser(path, _COMMENT.sub(_blank, read_text(path)))
    parser.read_blocks()
    variables = parser.variables
    factors = []
    for scope, name, energies in parser.tables():
        factors.append(Table([variables[member] for member in scope], energies=energies, name=name))
    return FactorGraph(factors, variables=list(variables.values()))


def _blank(comment: re.Match[str]) -> str:
    """A comment becomes its line ends, so that the lines of messages stay right."""
    return " " + "\n" * comment.group().count("\n")


def _name(word: str) -> str:
    return word[1:-1] if word.startswith('"') else word


class _Parser:
    """One pass over the words; the probability blocks are kept as places and read when all variables are known."""

    def __init__(self, path: PathLike, text: str) -> None:
        self.words = Words(path, text, _WORD)
        self.at = 0
        self.variables: dict[str, Variable] = {}
        self.blocks: dict[str, tuple[int, list[tuple[str, int]]]] = {}  # child -> place of the body, scope

    def here(self) -> str:
        return self.words.words[self.at] if self.at < len(self.words) else ""

    def take(self, what: str) -> str:
        word = self.here()
        if not word:
            raise self.words.expected(self.at, what)
        self.at += 1
        return word

    def need(self, sign: str) -> None:
        if self.here() != sign:
            raise self.words.expected(self.at, f'"{sign}"')
        self.at += 1

    def find(self, sign: str) -> int:
        try:
            return self.words.words.index(sign, self.at)
        except ValueError:
            raise self.words.expected(len(self.words), f'"{sign}"') from None

    def read_blocks(self) -> None:
        kinds: dict[str, Callable[[], None]] = {
            "network": self.read_network,
            "variable": self.read_variable,
            "probability": self.read_head,
        }
        while self.here():
            kind = kinds.get(self.here().lower())
            if kind is None:
                raise self.words.expected(self.at, '"network", "variable" or "probability"')
            self.at += 1
            kind()

    def read_network(self) -> None:
        self.at = self.find("{") + 1
        self.at = self.find("}") + 1

    def read_variable(self) -> None:
        place = self.at
        name = _name(self.take("the name of a variable"))
        if name in self.variables:
            raise self.words.error(place, f'variable "{name}" is declared twice.')
        self.need("{")
        while self.here() != "}":
            if self.here().lower() == "type":
                self.variables[name] = output(name, states=self.read_states(name))
            elif not self.here():
                raise self.words.expected(self.at, '"}"')
            else:
                self.at = self.find(";") + 1
        self.at += 1
        if name not in self.variables:
            raise self.words.error(place, f'variable "{name}" has no type: write type discrete [ 2 ] {{ yes, no }};')

    def read_states(self, name: str) -> list[str]:
        self.at += 1
        if self.here().lower() != "discrete":
            raise self.words.expected(self.at, '"discrete"')
        self.at += 1
        self.need("[")
        place = self.at
        count = self.words.integer(place, f'the number of states of variable "{name}"')
        self.at += 1
        self.need("]")
        self.need("{")
        end = self.find("}")
        states = list(map(_name, self.words.words[self.at : end]))
        if len(states) != count or not count:
            raise self.words.error(place, f'variable "{name}" says {count:,} states and lists {len(states)}.')
        if len(set(states)) < count:
            twice = next(place for place, state in enumerate(states) if state in states[:place])
            raise self.words.error(self.at + twice, f'variable "{name}" has state "{states[twice]}" twice.')
        self.at = end + 1
        self.need(";")
        return states

    def read_head(self) -> None:
        self.need("(")
        end = self.find(")")
        places = [place for place in range(self.at, end) if self.words.words[place] != "|"]
        bars = [place for place in range(self.at, end) if self.words.words[place] == "|"]
        if not places:
            raise self.words.expected(end, "the name of a variable")
        if bars not in ([], [self.at + 1]):
            raise self.words.error(bars[-1], "a probability block has one variable before its one bar.")
        scope = [(_name(self.words.words[place]), place) for place in places]
        child, place = scope[0]
        if child in self.blocks:
            raise self.words.error(place, f'variable "{child}" has two probability blocks.')
        self.at = end + 1
        self.need("{")
        self.blocks[child] = (self.at, scope)
        self.at = self.find("}") + 1

    def tables(self) -> Iterator[tuple[list[str], str, F64]]:
        """Yield (parents and child, name, energies) of each block, in order."""
        words = self.words
        for child, (body, scope) in self.blocks.items():
            for name, place in scope:
                if name not in self.variables:
                    raise words.error(place, f'there is no variable "{name}".')
            names = [name for name, _ in scope]
            if len(set(names)) < len(names):
                raise words.error(scope[0][1], f'the probability block of "{child}" names a variable twice.')
            shape = np.array([_count(self.variables[name]) for name in names], dtype=np.int64)
            check_sizes(words, shape, np.arange(len(names)), np.array([len(names)]), [scope[0][1]])
            self.at = body
            energies = self.read_body(child, [self.variables[name] for name in names[1:]], shape.tolist())
            parents = names[1:]
            title = f"P({child} | {', '.join(parents)})" if parents else f"P({child})"
            yield [*parents, child], title, energies
        for name in self.variables:
            if name not in self.blocks:
                raise FormatError(f'{words.path}: variable "{name}" has no probability block.')

    def read_body(self, child: str, parents: list[Variable], shape: list[int]) -> F64:
        """Return the energies of the block that begins here, over (parents ..., child)."""
        width, n_rows = shape[0], int(np.prod(shape[1:]))
        lookup = [{str(state): place for place, state in enumerate(parent.states or ())} for parent in parents]
        rows: dict[int, tuple[int, int]] = {}  # row -> place of its first and past its last number
        default: tuple[int, int] | None = None
        table: F64 | None = None
        while self.here() != "}":
            start = self.at
            word = self.take(f'a row of the probabilities of "{child}"')
            if word == "(":
                row = self.read_row(child, parents, lookup)
                if row in rows:
                    raise self.words.error(start, f'a row of the probabilities of "{child}" stands twice.')
                rows[row] = self.span(child, width)
            elif word.lower() == "table":
                low, high = self.span(child, width * n_rows)
                table = self.words.energies(self.words.words[low:high], range(low, high), "a probability")
                table = np.moveaxis(table.reshape(shape), 0, -1)
            elif word.lower() == "default":
                default = self.span(child, width)
            elif word.lower() == "property":
                self.at = self.find(";") + 1
            else:
                raise self.words.expected(start, '"(", "table" or "default"')
        if table is not None:
            if rows or default:
                raise self.words.error(self.at, f'the probabilities of "{child}" are given as a table and as rows.')
            return np.ascontiguousarray(table)
        return self.read_rows(child, parents, shape, rows, default)

    def read_row(self, child: str, parents: list[Variable], lookup: list[dict[str, int]]) -> int:
        """Return the number of the row whose states stand here, after "("."""
        end = self.find(")")
        states = self.words.words[self.at : end]
        if len(states) != len(parents):
            raise self.words.error(
                self.at, f'a row of "{child}" has one state for each of {len(parents)} parents, not {len(states)}.'
            )
        row = 0
        for place, (word, known, parent) in enumerate(zip(states, lookup, parents, strict=True)):
            state = known.get(_name(word))
            if state is None:
                raise self.words.error(
                    self.at + place,
                    f'variable "{parent.name}" has no state {self.words.show(self.at + place)}. '
                    f"Its states: {', '.join(known)}.",
                )
            row = row * len(known) + state
        self.at = end + 1
        return row

    def span(self, child: str, count: int) -> tuple[int, int]:
        """Return the places of the numbers that stand here, up to ";"."""
        low, high = self.at, self.find(";")
        if high - low != count:
            raise self.words.error(low, f'"{child}" needs {count} probabilities here; found {high - low}.')
        self.at = high + 1
        return low, high

    def read_rows(
        self,
        child: str,
        parents: list[Variable],
        shape: list[int],
        rows: dict[int, tuple[int, int]],
        default: tuple[int, int] | None,
    ) -> F64:
        width, n_rows = shape[0], int(np.prod(shape[1:]))
        if len(rows) < n_rows and default is None:
            missing = np.unravel_index(next(row for row in range(n_rows) if row not in rows), shape[1:])
            states = ", ".join(str((p.states or ())[int(s)]) for p, s in zip(parents, missing, strict=True))
            raise self.words.error(self.at, f'the probabilities of "{child}" have no row ({states}) and no default.')
        spans = [*([default] if default else []), *rows.values()]
        places = [place for low, high in spans for place in range(low, high)]
        numbers = self.words.energies([self.words.words[place] for place in places], places, "a probability")
        energies = np.empty((n_rows, width))
        if default:
            energies[:] = numbers[:width]
            numbers = numbers[width:]
        energies[list(rows)] = numbers.reshape(len(rows), width)
        return energies.reshape([*shape[1:], width])


def _count(variable: Variable) -> int:
    return len(variable.states or ())
