"""The index in PostgreSQL: connections, schema, partitions, and what proves that it keeps its word."""
