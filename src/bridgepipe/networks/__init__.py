"""The networks behind one signature, ``network(x, t[, y]) -> output``, with the published weights' names."""
