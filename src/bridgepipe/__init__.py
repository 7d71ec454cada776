"""bridgepipe: a declarative pipeline for diffusion bridges."""

__version__ = "0.1.0"
