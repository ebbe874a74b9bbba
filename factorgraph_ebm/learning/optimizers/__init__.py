"""The optimisers: one file each. To add one, write its file and its line in `OPTIMIZERS`."""

from factorgraph_ebm.learning.optimizers.optimizer import Optimizer

__all__ = ["Optimizer"]
