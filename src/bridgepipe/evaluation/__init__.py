"""Evaluation of results: features, distances, accuracy and restoration quality, with their protocol."""
