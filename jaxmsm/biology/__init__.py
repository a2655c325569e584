"""Rates of living things."""
