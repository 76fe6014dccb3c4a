"""Who is calling: a verified client certificate and the state, made into an identity."""
