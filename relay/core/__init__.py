"""The words of the relay: states, values, errors, addresses, ids, the clock.

Nothing in here does I/O. Every other package may import it; it imports none of them.
"""
