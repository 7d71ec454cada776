"""The report: one HTML file with every result, its settings, its protocol and its cost."""
