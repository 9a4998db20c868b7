"""Families of generative models, and what turns them into posteriors."""
