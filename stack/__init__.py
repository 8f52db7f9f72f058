"""Real servers on this machine, from package registries: no Docker, no root.

Kafka, SeaweedFS (S3 and an Iceberg REST catalog), a Flink cluster, Trino and PostgreSQL, on free ports of
127.0.0.1. They end with the process that started them, however that ends.
"""
