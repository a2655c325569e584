"""Energies, rates and updates of continua: laws, with and without history."""
