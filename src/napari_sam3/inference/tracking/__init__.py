"""Objects propagated from plane to plane."""
