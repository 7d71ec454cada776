"""bridgepipe: a declarative pipeline for diffusion bridges."""

__version__ = "0.2.0"
