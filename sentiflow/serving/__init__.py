"""The packaged model, raw text in and label and score out, and the HTTP service."""
