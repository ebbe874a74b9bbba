"""Estimators: finished products with the face of scikit-learn, one folder each.

To add one, write its folder, its line in `ESTIMATORS`, and its name in `factorgraph_ebm.__init__`. Nothing is imported
here: what one estimator needs would take the time of another.
"""

from collections.abc import Mapping

ESTIMATORS: Mapping[str, str] = {
    "SegmentTagger": "segments.segment_tagger",
    "Segmenter": "segmentation.segmenter",
    "SequenceTagger": "tagging.sequence_tagger",
}
"name -> module"
