"""The networks of SAM 3 as plain torch modules: encoders, decoders, memory, concept detector."""
