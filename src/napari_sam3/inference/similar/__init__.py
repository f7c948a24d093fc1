"""Find objects that resemble examples, by the concept detector or by the features of clicks."""
