"""The record: events, the journal that makes them durable, and the index that finds them."""
