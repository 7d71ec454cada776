"""Where and how work runs: devices, processes, clusters, locks, randomness, progress and provenance."""
