"""The structures: one file each, with its declaration, its table and (further down) its kernels.

To add one: write `factors/<name>.py` with a `Factor` that defines `kind`, its number slots and `table_map`, and add
it to `STRUCTURES`; the conformance tests find it there.
"""

from ..graph.declaration import Factor
from .potts import Potts
from .product import Product
from .table import Table

STRUCTURES: dict[str, type[Factor]] = {
    "Potts": Potts,
    "Product": Product,
    "Table": Table,
}

__all__ = ["STRUCTURES", "Potts", "Product", "Table"]
