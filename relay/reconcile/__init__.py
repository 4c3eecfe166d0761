"""Ledger against Salesforce: what is missing, doubled or orphaned, and its repair.

`Audit` walks the ledger and the time in which records were made, and returns a report
of differences as values; with `fix`, missing records are queued to be written again.
Nothing is printed here.
"""
