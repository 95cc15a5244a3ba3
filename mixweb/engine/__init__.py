"""
Bytes to Request and back: the HTTP engine.
"""
