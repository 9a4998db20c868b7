"""Faces: command line and, later, web and node. No science here."""
