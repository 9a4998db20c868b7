"""Results as pages a person reads."""
