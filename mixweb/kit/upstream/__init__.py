"""
Requests to other servers: pooled connections, and the relay of a request over one of them.
"""
