"""Image stores: writing, reading, subsets, and the files they are made from."""
