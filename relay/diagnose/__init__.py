"""What `relay check` finds, as values that CLI, API and console show alike.

Each function looks at one thing and returns findings: how it is, and the hint that
helps. Nothing is printed here, and no check raises for what it looks at.
"""

from relay.diagnose.finding import Finding, Level

__all__ = ["Finding", "Level"]
