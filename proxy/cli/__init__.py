"""The command line: people's way in. Commands say what they did and where to look next."""
