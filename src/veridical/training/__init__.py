"""Training samples, packed caches and the courses that learn from them."""
