"""Validation of what an admin enters, below the command line, the API and the console.

`inputs` reads single values (addresses, patterns, names, ids, times) and makes secrets;
`settings` reads the settings that hold without a restart. Both take text and return
values, or raise `InvalidInput` with a hint. Storing the values is left to the caller.
"""
