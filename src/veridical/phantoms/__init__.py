"""The embedded digital cohort and readers of public sets."""
