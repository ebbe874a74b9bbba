"""Tags for the tokens of sequences: `SequenceTagger` and what it is made of."""
