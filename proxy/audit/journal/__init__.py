"""The journal: records made durable in segment files, recovered, rescued, and read back."""
