"""What a run of a flow is, and how runs are found and compared."""
