"""The questions: one file each, one signature for all, one engine run for a whole list.

    minimize        argmin over what is asked of E, the rest minimised over or summed
    marginals       P(y) = exp(-beta (E - F)); log_partition is log sum exp(-beta E)
    min_marginals   min of E with one cell held in each of its states
    rank            compare the energies of candidates
    k_best          the assignments of least energy, in order
    diverse         the best ones that differ enough from each other
    sample          independent draws from P
    energy          of an assignment; factor_energies, factor by factor
    plan            which method would run, and why
    steps           watch message passing, one sweep or message at a time

Either of `graph` and `given` may be a list; then so is the answer, in that order.
"""

from factorgraph_ebm.questions.diverse import diverse
from factorgraph_ebm.questions.energy import energy, factor_energies
from factorgraph_ebm.questions.k_best import k_best
from factorgraph_ebm.questions.marginals import log_partition, marginals
from factorgraph_ebm.questions.min_marginals import min_marginals
from factorgraph_ebm.questions.minimize import minimize
from factorgraph_ebm.questions.plan import plan
from factorgraph_ebm.questions.rank import rank
from factorgraph_ebm.questions.sample import sample
from factorgraph_ebm.questions.steps import steps

__all__ = [
    "diverse", "energy", "factor_energies", "k_best", "log_partition", "marginals", "min_marginals", "minimize", "plan",
    "rank", "sample", "steps",
]  # fmt: skip
