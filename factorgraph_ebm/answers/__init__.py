"""Answers with words: what a run found, read by the names, labels and views of the graph it was asked about."""
