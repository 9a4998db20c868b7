"""Judging any generator at three levels and on trust: cases, integrity, protocol, statistics,
verdicts.
"""
