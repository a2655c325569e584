"""The named systems, one story a file."""
