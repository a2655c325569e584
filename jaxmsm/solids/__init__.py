"""Energies, rates and updates of continua: laws, with and without history."""

from ._law import AbstractLaw as AbstractLaw
