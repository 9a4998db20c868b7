"""Operators with forward, adjoint and @; noise; coils; tissue models."""
