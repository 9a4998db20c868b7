"""Checks and companions: consistency, evidence, interval, scope."""
