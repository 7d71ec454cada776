"""The published systems, each as the algorithm box of its paper."""
