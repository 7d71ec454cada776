"""Diffusion processes: numbers in, tensors out; float64 tables, cast where they meet an image."""
