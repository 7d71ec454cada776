"""Pictures: data in, one PNG out."""
