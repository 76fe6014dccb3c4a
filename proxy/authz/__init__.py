"""Who may do what: decisions the proxy makes itself, and those it asks a cluster for."""
