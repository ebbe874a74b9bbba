"""The structures: one file each, with its declaration, its table and (further down) its kernels.

To add one: write `factors/<name>.py` with a `Factor` that defines `kind`, its number slots and `table_map`, and add
it to `STRUCTURES`; the conformance tests find it there.
"""

from factorgraph_ebm.factors.all_different import AllDifferent
from factorgraph_ebm.factors.at_least_one import AtLeastOne
from factorgraph_ebm.factors.at_most_one import AtMostOne
from factorgraph_ebm.factors.cardinality import Cardinality
from factorgraph_ebm.factors.exactly_one import ExactlyOne
from factorgraph_ebm.factors.implies import Implies
from factorgraph_ebm.factors.linear_constraint import LinearConstraint
from factorgraph_ebm.factors.logical_and import And
from factorgraph_ebm.factors.logical_or import Or
from factorgraph_ebm.factors.maximum import Maximum
from factorgraph_ebm.factors.parity import Parity
from factorgraph_ebm.factors.potts import Potts
from factorgraph_ebm.factors.product import Product
from factorgraph_ebm.factors.sparse_table import SparseTable
from factorgraph_ebm.factors.table import Table
from factorgraph_ebm.factors.truncated_linear import TruncatedLinear
from factorgraph_ebm.factors.truncated_quadratic import TruncatedQuadratic
from factorgraph_ebm.graph.declaration import Factor

STRUCTURES: dict[str, type[Factor]] = {
    "AllDifferent": AllDifferent,
    "And": And,
    "AtLeastOne": AtLeastOne,
    "AtMostOne": AtMostOne,
    "Cardinality": Cardinality,
    "ExactlyOne": ExactlyOne,
    "Implies": Implies,
    "LinearConstraint": LinearConstraint,
    "Maximum": Maximum,
    "Or": Or,
    "Parity": Parity,
    "Potts": Potts,
    "Product": Product,
    "SparseTable": SparseTable,
    "Table": Table,
    "TruncatedLinear": TruncatedLinear,
    "TruncatedQuadratic": TruncatedQuadratic,
}

__all__ = [
    "STRUCTURES",
    "AllDifferent",
    "And",
    "AtLeastOne",
    "AtMostOne",
    "Cardinality",
    "ExactlyOne",
    "Implies",
    "LinearConstraint",
    "Maximum",
    "Or",
    "Parity",
    "Potts",
    "Product",
    "SparseTable",
    "Table",
    "TruncatedLinear",
    "TruncatedQuadratic",
]
