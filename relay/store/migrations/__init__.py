"""The history of the schema, one script a revision, run by `relay.store.migrate`."""
