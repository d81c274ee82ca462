"""The model that the package carries, trained on IMDB."""
