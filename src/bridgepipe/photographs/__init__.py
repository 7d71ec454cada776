"""Photographs of people: picture files, tiles, samples inside packages, and the network that ships."""
