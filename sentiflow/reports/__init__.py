"""Pages and summaries of runs, made of blocks."""
