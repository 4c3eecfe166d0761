"""Attachments: the files of a mail follow its text into Salesforce.

`Attachments.plan` plans them in the commit that settles the message; from then on they
are sent and linked with attempts of their own, and never change how the message ended.
Left to others: which files become Files (`activity`), sending a row once (`outbox`),
the calls to Salesforce (`salesforce`).
"""
