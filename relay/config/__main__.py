"""`python -m relay.config` prints `config.example.toml`."""

from __future__ import annotations

import sys

from relay.config.example import example

if __name__ == "__main__":
    sys.stdout.write(example())
