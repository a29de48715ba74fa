//! Nothing of its own: the programs beside this file are the examples.
