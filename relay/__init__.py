"""A self-hosted relay from e-mail to Salesforce.

Sales people put one secret address into BCC; the relay takes the copy, finds the
people in it in Salesforce and logs the mail there, once. `docs/flow.md` follows one
mail through these packages.
"""

__version__ = "0.1.0"
