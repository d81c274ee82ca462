"""Steps with a side effect each: fetch, write, log, register. Prefect tasks, and the MLflow code that they use."""
