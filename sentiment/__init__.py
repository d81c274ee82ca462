"""The pure library: data, text, model, training, metrics and plots.

Nothing in here imports Prefect or MLflow, and importing any of it does no work.
"""
