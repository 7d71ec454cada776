"""Training: the loop, what an objective sees, the order of the data, the average of the weights, state and log."""
