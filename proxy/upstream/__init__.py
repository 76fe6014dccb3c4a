"""Clusters as we reach them: where they are, with which credential, over which connections."""
