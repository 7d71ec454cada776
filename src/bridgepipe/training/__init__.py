"""Training: the loop, what an objective sees, the order of the data, the averaged weights, state and log."""
