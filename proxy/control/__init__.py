"""The control plane: REST for people and machines, in one table of routes."""
