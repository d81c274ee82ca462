"""MLflow's store: records of runs and versions, read without MLflow's client and written by it."""
