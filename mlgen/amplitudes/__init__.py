"""Amplitude surrogates in the host: points, checks, region of the training, accuracy, and the model of a process."""
