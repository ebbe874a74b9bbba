"""Learning: terms of losses, the oracle that optimisers see, optimisers, and the loop that trains."""
