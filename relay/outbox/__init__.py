"""The one way out: what is written to Salesforce is written once.

A transactional outbox. Each row is committed as *sent* before its request leaves; what
Salesforce answered is committed after it; a row without an answer is looked up by its
key before anything is sent again. Here are also the circuit breaker, which pauses the
work while Salesforce cannot be used, and the waits between attempts.
Left to others: which records a mail needs (`match`, `activity`), which mails are worked
on (`worker`), files (`attachments`), and HTTP (`salesforce`).
"""
