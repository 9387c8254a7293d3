"""One module per family of formats; each writes the rows of a journal to a file, chunk by chunk.

Every module has ``write(rows, meta, path)``: `rows` a `galmorph.tables.journal.Journal`, `meta` the
nested provenance, `path` a file that does not exist yet.
"""
