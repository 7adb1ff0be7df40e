"""The steps, named r<number>_<what>.py; Alembic finds them by their `revision`."""
