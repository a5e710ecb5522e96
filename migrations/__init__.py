"""Alembic migrations of the catalog; `facesim_index.store.catalog` runs them."""
