"""The data plane: connections from clients, one pipeline for every call, connections to clusters.

The account we use at a cluster may only impersonate. A request that lost its identity headers on
the way would therefore fail there, and the last gate makes sure that it is never sent.
"""
