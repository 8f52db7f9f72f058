"""Where the timelines of keys are kept: one interface, a module per backend."""
