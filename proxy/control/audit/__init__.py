"""The log as the control plane shows it, and only as much of it as the caller may see."""
