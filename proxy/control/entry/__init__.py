"""How a request becomes an act: who sends it, what they may, what it says, what goes on record."""
