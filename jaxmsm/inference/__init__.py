"""Models confronted with data."""
