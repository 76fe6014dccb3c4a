"""The composition root: every part made, wired, started and stopped, in one place."""
