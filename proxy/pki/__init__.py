"""Keys and certificates: our authority, what it issues, and the kubeconfigs made of it."""
