"""Energies of beads and atoms."""
