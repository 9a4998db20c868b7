"""Companions and checks of results. A check is a function of study and result called as its file,
found by the registry.
"""
