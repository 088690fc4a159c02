"""Tocsin proves that a team's monitoring would wake somebody.

The rooms of the house and who may enter which are drawn in `ARCHITECTURE.md`.
"""

__version__ = "0.1.0"
