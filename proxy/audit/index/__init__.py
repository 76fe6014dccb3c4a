"""The index: rows and blocks of what the journals hold, in SQLite or PostgreSQL, and searches."""
