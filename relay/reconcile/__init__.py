"""Ledger against Salesforce: what is missing, foreign, doubled or orphaned; its repair.

`records.Reconciliation` walks the ledger and the time in which records were made, and
returns a `report.Report` of differences. With `fix`, missing records are queued to be
written again. `undo.undo` takes a logged mail
out of Salesforce again. Nothing is printed here.
"""
