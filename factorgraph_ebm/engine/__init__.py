"""The compiled engine: arrays in, arrays out. It knows no names, no options, and raises nothing."""
