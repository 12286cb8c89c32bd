"""How text is generated: one file a way of decoding."""
