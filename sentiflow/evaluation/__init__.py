"""Figures of predictions: metrics, statistics, scores of two models."""
