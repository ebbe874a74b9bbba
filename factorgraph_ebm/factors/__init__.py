"""The structures: one file each, with its declaration, its table and (further down) its kernels.

To add one: write `factors/<name>.py` with a `Factor` that defines `kind`, its number slots and `table_map`, and add
it to `STRUCTURES`; the conformance tests find it there.
"""

from factorgraph_ebm.factors.potts import Potts
from factorgraph_ebm.factors.product import Product
from factorgraph_ebm.factors.table import Table
from factorgraph_ebm.graph.declaration import Factor

STRUCTURES: dict[str, type[Factor]] = {
    "Potts": Potts,
    "Product": Product,
    "Table": Table,
}

__all__ = ["STRUCTURES", "Potts", "Product", "Table"]
