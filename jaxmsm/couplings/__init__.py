"""Scales alive side by side."""
