"""Segments of sequences: `SegmentTagger` and what it is made of."""
