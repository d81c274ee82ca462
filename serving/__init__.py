"""The packaged model: raw text in, label and score out."""
