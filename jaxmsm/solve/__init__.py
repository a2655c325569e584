"""How unknowns are found: equilibrium, linear systems, adjoints, flow in time, batches and campaigns."""
