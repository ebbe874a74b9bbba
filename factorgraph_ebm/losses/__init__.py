"""The losses: one file each. To add one, write its file and its line in `LOSSES`."""

from factorgraph_ebm.losses.loss import Loss, Query, difference

__all__ = ["Loss", "Query", "difference"]
