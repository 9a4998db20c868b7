"""Radiology reports: facts, sentences that say them, and a reader that finds them again."""
