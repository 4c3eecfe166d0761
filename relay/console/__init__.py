"""What the command line, the API and the pages ask and do: one function for each.

Each takes the store and values, and returns frozen values; who may ask is decided in
`access` where a caller is not an admin at a shell. So an answer, a number or a refusal
is the same wherever it is asked for. Parsing of options, HTTP and layout are left to
`cli` and `web`; deciding about mail is left to the rooms below.
"""
