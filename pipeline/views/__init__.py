"""The tables as views: in DuckDB for `bitlake sql`, and as SQL for Trino."""
