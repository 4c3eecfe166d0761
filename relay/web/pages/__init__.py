"""The console's pages for people: HTML made here, with no logic of its own.

`app` puts the routes together, `render` makes a page of a template. Each other file
has the routes of one thing; what they do stands in `relay.console`.
"""
