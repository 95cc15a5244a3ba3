"""
What features are made with: shared by several, a feature of none.
"""
