"""Hard events from Gaussian mixtures that boosted trees correct, as a generator of mlgen."""
