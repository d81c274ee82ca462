"""From a source of reviews to one canonical, checked table."""
