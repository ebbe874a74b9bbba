"""Estimators: finished products with the face of scikit-learn, one file each.

To add one, write its file, its line in `ESTIMATORS`, and its name in `factorgraph_ebm.__init__`. Nothing is imported
here: what one estimator needs would take the time of another.
"""

from collections.abc import Mapping

ESTIMATORS: Mapping[str, str] = {
    "SegmentTagger": "segment_tagger",
    "Segmenter": "segmenter",
    "SequenceTagger": "sequence_tagger",
}
"name -> file"
