"""kubewitness: a Kubernetes API proxy that records every call and can prove it."""

__version__ = "0.1.0"
