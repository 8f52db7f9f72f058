"""`bitlake bench append-upsert`: one topic into two tables by the Flink job, and what reading them costs.

A *subject* (`subjects`) is a table and how it is written; what is measured of it is one module each: the job
(`job`), its files (`files`), questions in Trino (`questions`). `measure` puts them together; `page` and
`picture` show them.
"""
