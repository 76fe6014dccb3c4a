"""The record: events, and the ports through which the rest of the product keeps them."""
