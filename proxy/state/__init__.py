"""What the proxy knows besides its records: clusters and credentials, and who changed them."""
