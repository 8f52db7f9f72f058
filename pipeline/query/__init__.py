"""Answers from the tables: what is believed, what was believed, and what changed, by DuckDB."""
