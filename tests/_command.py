"""What the tests of the command share: materials of a plastic laminate, and how to read what a run left."""

import json

LAMINATE = """
[[phase]]
name = "soft"
label = 0
law = "j2"
lam = 1.5
mu = 1.0
sy = 0.01
H = 0.05
[[phase]]
name = "hard"
label = 1
law = "elastic"
lam = 3.0
mu = 1.0
"""
"""In pure shear its layers differ in their yield stress alone."""


def summary(folder):
    return json.loads((folder / "summary.json").read_text())
