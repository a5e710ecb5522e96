"""Alembic migrations of the catalog; `facesim_index.catalog` runs them."""
