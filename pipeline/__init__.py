"""bitlake: streams of JSON records in, bi-temporal Apache Iceberg tables out."""
