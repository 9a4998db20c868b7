"""Files to types and back."""
