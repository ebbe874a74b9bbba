"""Estimators: finished products with the face of scikit-learn, one file each.

To add one, write its file, its line in `ESTIMATORS`, and its name in `factorgraph_ebm.__init__`.
"""

from collections.abc import Mapping

from factorgraph_ebm.estimators.sequence_tagger import SequenceTagger

ESTIMATORS: Mapping[str, type] = {"SequenceTagger": SequenceTagger}

__all__ = ["ESTIMATORS", "SequenceTagger"]
